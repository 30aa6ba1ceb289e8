"""Blocks of PET.

Attention layers on central and edge tokens, and how edges get and combine their tokens.
"""

import torch
from torch import nn
from torch.nn import functional

from . import ragged
from .linear import FEEDFORWARD, NORMS, Embedding, Linear, derived, linear


class AttentionLayer(nn.Module):
    """One transformer layer on central tokens (n, d_node) and edge tokens (2P, d_pet).

    Where d_node is wider than d_pet the central token enters contracted and its update is expanded,
    with an MLP of its own. Where they are equal, PreLN replaces the central token: node' =
    Attn(norm(tokens))_0, without a residual.
    """

    def __init__(self, settings):
        super().__init__()
        norm, feedforward = NORMS[settings.normalization], FEEDFORWARD[settings.activation]
        d, d_node = settings.d_pet, settings.d_node
        self.pre_norm, self.wide = settings.transformer_type == "PreLN", d_node != d
        self.attention = ragged.Attention(d, settings.num_heads, settings.attention_temperature)
        self.norm_attention, self.norm_mlp = norm(d), norm(d)
        self.mlp = feedforward(d, settings.d_feedforward)
        if self.wide:
            self.center_contraction, self.center_expansion = Linear(d_node, d), Linear(d, d_node)
            self.norm_center_features = norm(d_node)
            self.center_mlp = feedforward(d_node, 2 * d_node)

    def forward(self, node, edge, where):
        n = node.shape[0]
        tokens = torch.cat([self.center_contraction(node) if self.wide else node, edge])
        if self.pre_norm:
            update = self.attention(self.norm_attention(tokens), where)
            central, edge = update[:n], edge + update[n:]
            edge = edge + self.mlp(self.norm_mlp(edge))
        else:
            tokens = self.norm_attention(tokens + self.attention(tokens, where))
            tokens = self.norm_mlp(tokens + self.mlp(tokens))
            central, edge = tokens[:n], tokens[n:]
        if self.wide:
            node = node + self.center_expansion(central)
            return node + self.center_mlp(self.norm_center_features(node)), edge
        return central, edge


class MessageLayer(nn.Module):
    """One message-passing layer.

    Edge tokens from geometry, neighbour species and messages, then attention.
    """

    def __init__(self, settings, first):
        super().__init__()
        d = settings.d_pet
        self.first = first
        self.edge_embedder = Linear(4, d)
        if not first:
            self.neighbor_embedder = Embedding(len(settings.species), d)
        self.compress = nn.Sequential(Linear((2 if first else 3) * d, d), nn.SiLU(), Linear(d, d))
        self.attention_layers = nn.ModuleList(
            AttentionLayer(settings) for _ in range(settings.num_attention_layers)
        )

    def _folded(self, table):
        """compress.0 after the linear embeddings.

        Weight for geometry (d, 4), row per species, weight for messages.
        """
        d, embed, compress = table.shape[1], self.edge_embedder, self.compress[0]
        blocks = compress.weight.split(d, dim=1)
        rows = table @ blocks[1].T + blocks[0] @ embed.bias + compress.bias
        return blocks[0] @ embed.weight, rows, None if self.first else blocks[2].contiguous()

    def forward(self, node, message, geometry, species, where):
        """Central and edge tokens of this layer.

        message: (2P, d_pet), for the first layer the table (n_species, d_pet) of initial messages
        by neighbour species;
        geometry: (2P, 4) edge vectors and lengths in A; species: (2P,) row of each edge's
        neighbour.
        """
        table = message if self.first else self.neighbor_embedder.weight
        parameters = (table, *self.edge_embedder.parameters(), *self.compress[0].parameters())
        to_geometry, rows, to_message = derived(
            self, "folded", parameters, lambda: self._folded(table)
        )
        hidden = linear(geometry, to_geometry) + functional.embedding(species, rows)
        if not self.first:
            hidden = hidden + linear(message, to_message)
        edge = self.compress[2](functional.silu(hidden))
        for layer in self.attention_layers:
            node, edge = layer(node, edge, where)
        return node, edge


class Combination(nn.Module):
    """MLP of LayerNorm([e_ij, e_ji]), computed on sums and differences of each pair.

    Mean and variance are the same for both directions, so with s = e_ij + e_ji and t = e_ij - e_ji
    the first linear map is p +- q, p = (Wa + Wb) / 2 (s - 2 mean) / std + b and q = (Wa - Wb) / 2 t
    / std: half the products.
    """

    def __init__(self, d):
        super().__init__()
        self.norm = nn.LayerNorm(2 * d)
        self.mlp = nn.Sequential(Linear(2 * d, 2 * d), nn.SiLU(), Linear(2 * d, d))

    def _folded(self):
        first, second = (self.mlp[0].weight * self.norm.weight).chunk(2, dim=1)
        bias = self.mlp[0].weight @ self.norm.bias + self.mlp[0].bias
        return (first + second) / 2, (first - second) / 2, bias

    def forward(self, edge):
        parameters = (*self.norm.parameters(), *self.mlp[0].parameters())
        to_sum, to_difference, bias = derived(self, "folded", parameters, self._folded)
        one, other = edge.chunk(2)
        total, difference = one + other, one - other
        total = total - total.mean(-1, keepdim=True)
        variance = (total**2 + difference**2).mean(-1, keepdim=True) / 4
        scale = torch.rsqrt(variance + self.norm.eps)
        even, odd = linear(total * scale, to_sum, bias), linear(difference * scale, to_difference)
        return self.mlp[2](functional.silu(torch.cat([even + odd, even - odd])))
