"""What a person looks at after training: plots and the card."""

from ase.data import chemical_symbols
from matplotlib.figure import Figure

UNITS = {
    "energy": ("meV/atom", 1e3),
    "forces": ("meV/A", 1e3),
    "stress": ("GPa", 160.21766208),
    "dipole": ("e A", 1.0),
}
DEBYE = 0.20819433  # e A
AUGMENTATION = {
    "rotations": "random rotations and reflections",
    "frames": "frames drawn by weight: the network means nothing without its symmetriser",
}
COLOURS = {"train": "0.7", "val": "tab:blue", "test": "tab:red"}


def learning_curve(history, path):
    """PNG of validation errors against the epoch, one panel for each kind of label."""
    names = [name for name in UNITS if name in history[-1]["val"]]
    figure = Figure(figsize=(4 * len(names), 3.2), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        unit, factor = UNITS[name]
        axes.loglog(
            [r["epoch"] for r in history], [factor * r["val"][name]["rmse"] for r in history]
        )
        axes.set(xlabel="epoch", ylabel=f"validation RMSE ({unit})", title=name)
    figure.savefig(path, dpi=120)


def parity(pairs, path):
    """PNG of predicted against reference values of each split."""
    names = [
        name
        for name in UNITS
        if any(name in values and values[name].shape[1] for values in pairs.values())
    ]
    figure = Figure(figsize=(4 * len(names), 3.8), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        unit, factor = UNITS[name]
        for split, values in pairs.items():
            reference, predicted = factor * values[name]
            axes.plot(reference, predicted, ".", markersize=2, color=COLOURS[split], label=split)
        axes.axline((0, 0), slope=1, color="k", linewidth=0.5)
        axes.set(xlabel=f"reference ({unit})", ylabel=f"predicted ({unit})", title=name)
    axes.legend()
    figure.savefig(path, dpi=120)


def errors_table(metrics):
    """Markdown table of errors by split; dipoles, where there are any, in e A and in Debye."""
    rows = [
        (
            "| split | structures | energy RMSE / MAE (meV/atom) | forces RMSE / MAE (meV/A) | of"
            " rms force | stress RMSE / MAE (GPa) |"
        ),
        "|---|---|---|---|---|---|",
    ]
    dipoles = any("dipole" in values for values in metrics.values())
    if dipoles:
        rows = [rows[0] + " dipole components RMSE / MAE (e A) | (D) |", rows[1] + "---|---|"]
    for split, values in metrics.items():
        cells = [split, str(values["structures"])]
        for name in ("energy", "forces", "stress"):
            cells.append(_cell(values.get(name), UNITS[name][1]))
            if name == "forces":
                cells.append(
                    f"{100 * values[name]['rmse'] / values[name]['rms']:.2g} %"
                    if name in values
                    else "-"
                )
        if dipoles:
            cells += [_cell(values.get("dipole"), factor) for factor in (1.0, 1 / DEBYE)]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _cell(found, factor):
    return f"{factor * found['rmse']:.3g} / {factor * found['mae']:.3g}" if found else "-"


def card(recipe, model, stored, metrics):
    """Markdown card: what the calculator is, its errors and its limits.

    Free text comes from the recipe's [card].
    """
    text, provenance = recipe.card, stored.provenance
    species = ", ".join(chemical_symbols[z] for z in model.species)
    shortest = ", ".join(
        f"{'-'.join(chemical_symbols[z] for z in pair)} {distance:.2f} A"
        for pair, distance in stored.shortest_distances.items()
    )
    parameters = sum(p.numel() for p in model.parameters())
    reach = "local (one message-passing layer)" if model.is_local else "message passing"
    lines = [
        f"# {recipe.name}",
        "",
        text.get("system", ""),
        "",
        f"- Level of theory: {text.get('level_of_theory', 'not stated')}",
        f"- Species: {species}; shortest distances in training: {shortest}",
        (
            f"- Model: `{recipe.model}`, {parameters} parameters, cutoff {model.cutoff} A, {reach};"
            f" symmetriser `{stored.symmetrise}`, dtype {stored.dtype}"
        ),
        f"- Augmentation: {AUGMENTATION[recipe.augmentation]}",
        (
            f"- Trained {provenance['date']} on {provenance['device']} for {provenance['epochs']}"
            f" epochs in {provenance['seconds']} s (the last uninterrupted part), torch"
            f" {provenance['torch']}, seed {recipe.seed}"
        ),
        f"- Data licence: {text.get('licence', 'not stated')}",
        "",
        "## Errors",
        "",
        errors_table(metrics),
        "",
        (
            "Errors are of the weights that are shipped, chosen by the validation split; energies"
            " per atom."
        ),
        "",
        "## Limits",
        "",
        text.get("limits", "not stated"),
        "",
        "## Make it again",
        "",
        "```",
        f"ase-pet train recipe.toml --output runs/{recipe.name}",
        "```",
        "",
    ]
    return "\n".join(lines)
