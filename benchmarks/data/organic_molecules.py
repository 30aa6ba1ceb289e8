"""Organic molecules of H, C, N and O for organic.py: drawn at random, filtered by rules.

A molecule is grown by a random walk: a start (an atom of carbon or a ring), to which substituents
are attached one by one, each at a random atom that has hydrogen to spare, until the chosen number
of heavy atoms is reached. Sometimes two atoms are joined to a further ring. RDKit checks valences.
FORBIDDEN lists what is discarded. Molecules of up to four heavy atoms are exhausted in this way,
larger ones are a sample. Needs rdkit.
"""

import numpy as np
from rdkit import Chem, RDLogger
from rdkit.Chem import rdMolDescriptors

RDLogger.DisableLog("rdApp.*")

# heavy atoms -> fraction of the molecules that are drawn; small ones are soon exhausted
SIZES = {2: 0.02, 3: 0.04, 4: 0.08, 5: 0.16, 6: 0.22, 7: 0.24, 8: 0.14, 9: 0.10}
# molecules that no random walk from carbon finds; all of them are training molecules
SMALL = ("[H][H]", "N#N", "[C-]#[O+]", "O", "N", "C", "NN", "NO", "O=C=O", "C#N", "C=O")
WATER = "O"

# SMILES of rings to start from; a common one stands there several times
RINGS = """
C1CC1 C1CO1 C1CN1 C1CCC1 C1COC1 C1CNC1 C1CCCC1 C1=CCCC1 C1CCOC1 C1CCNC1 C1COCO1 C1CNCN1 C1CCCCC1
C1=CCCCC1 C1CCOCC1 C1CCNCC1 C1COCCN1 C1CNCCN1 C1COCCO1 c1ccccc1 c1ccccc1 c1ccccc1 c1ccccc1
c1ccccc1 c1ccncc1 c1ccncc1 c1ccncc1 c1ccnnc1 c1cncnc1 c1cnccn1 c1ccoc1 c1cc[nH]c1 c1c[nH]cn1
c1cn[nH]c1 c1cocn1 c1cnoc1 c1nc[nH]n1 c1cn[nH]n1 c1nnco1 O=C1CCCN1 O=C1CCCO1 O=C1CCCCC1
O=C1C=CCCC1
"""
RING_START = 0.6  # fraction of the molecules of five and more heavy atoms that start from a ring
CLOSURE = 0.12  # probability that two atoms are joined to a further ring

# SMILES of a substituent whose first atom is bound, order of that bond, weight
SUBSTITUENTS = (
    ("C", 1, 9.0),
    ("N", 1, 3.0),
    ("O", 1, 3.5),
    ("C", 2, 2.0),
    ("N", 2, 0.4),
    ("O", 2, 3.5),
    ("C", 3, 0.5),
    ("N", 3, 0.8),
    ("[N+](=O)[O-]", 1, 0.25),
)

FORBIDDEN = {
    "charges but for nitro groups": "[!#0;+,-;!$([N+](=O)[O-]);!$([O-][N+]=O)]",
    "nitro groups not at carbon": "[!#6]-[N+](=O)[O-]",
    "O-O bonds": "[O,o]~[O,o]",
    "three heteroatoms in a row outside aromatic rings": "[#7,#8;A]~[#7;A;+0]~[#7,#8]",
    "chains of more than two N or O in aromatic rings": "[n,o]:[n,o]:[n,o]:[n,o]",
    "more than two cumulated double bonds": "*=*=*=*",
    "cumulated double bonds in rings": "*=[R]=*",
    "triple bonds in rings": "[R]#[R]",
    "cumulated double bonds beside N or O": "[#7,#8]-*=*=*",
    "cyanates, ynamines, ynol ethers": "*#C-[#8,$([#7;!$(N-C=O)])]",
    "double bonds at rings of three": "[r3]=*",
    "N or O at rings of three": "[r3]-[#7,#8;!r3]",
    "three carbonyl groups in a row": "O=C-C(=O)-C=O",
    "cyclobutadiene": "C1=CC=C1",
    "rings of three or four fused to others": "[r3,r4;R2]",
    "two of OH, NH at one sp3 carbon": "[CX4]([OX2,NX3;!H0])[OX2,NX3;!H0]",
    "enols, ynols": "[C;!$(C=O)]=,#[C]-[OX2;H1]",
    "primary and secondary enamines, ynamines": "C=,#[C;!$(C=N)]-[NX3;!H0]",
    "imidic acids": "[#7]=[C]-[OX2;H1]",
    "carbonic and carbamic acids": "[OX2;H1]C(=O)[O,N]",
    "nitroso groups": "[#6]-[NX2]=O",
    "hydroxyl at N but for oximes and hydroxamic acids": "[NX3;!$(N-C=O)]-[OX2;H1]",
    "hydrazines of three and more substituents": "[NX3;H0]-[NX3;H0]",
}
PATTERNS = [Chem.MolFromSmarts(smarts) for smarts in FORBIDDEN.values()]
MOST_RINGS = 2
ORDERS = {1: Chem.BondType.SINGLE, 2: Chem.BondType.DOUBLE, 3: Chem.BondType.TRIPLE}


def canonical(molecule):
    """Canonical SMILES of a molecule, or None if its valences are wrong."""
    try:
        Chem.SanitizeMol(molecule)
    except Chem.MolSanitizeException:
        return None
    return Chem.MolToSmiles(molecule)


def stable(smiles):
    """Whether no rule forbids a molecule."""
    molecule = Chem.MolFromSmiles(smiles)
    if molecule is None or any(molecule.HasSubstructMatch(pattern) for pattern in PATTERNS):
        return False
    symbols = [atom.GetSymbol() for atom in molecule.GetAtoms()]
    carbons = symbols.count("C")
    bridged = rdMolDescriptors.CalcNumBridgeheadAtoms(molecule)
    spiro = rdMolDescriptors.CalcNumSpiroAtoms(molecule)
    rings = molecule.GetRingInfo().NumRings()
    few = len(symbols) - carbons <= carbons + 1  # N and O
    return few and not bridged and not spiro and rings <= MOST_RINGS


def free(molecule, order):
    """Indices of the atoms with at least `order` hydrogen atoms."""
    return [atom.GetIdx() for atom in molecule.GetAtoms() if atom.GetTotalNumHs() >= order]


def joined(molecule, first, second, order):
    """A molecule with a further bond between two atoms; their hydrogen atoms make room."""
    editable = Chem.RWMol(molecule)
    editable.AddBond(first, second, ORDERS[order])
    for index in (first, second):
        atom = editable.GetAtomWithIdx(index)
        if atom.GetNumExplicitHs():  # that of pyrrole is written, others follow from the valence
            atom.SetNumExplicitHs(atom.GetNumExplicitHs() - order)
    grown = canonical(editable)
    return None if grown is None else Chem.MolFromSmiles(grown)


def attached(molecule, rng):
    """A molecule with one more substituent at a random atom, or None."""
    weights = np.array([weight for *_, weight in SUBSTITUENTS])
    smiles, order, _ = SUBSTITUENTS[rng.choice(len(weights), p=weights / weights.sum())]
    places = free(molecule, order)
    if not places:
        return None
    both = Chem.CombineMols(molecule, Chem.MolFromSmiles(smiles))
    return joined(both, int(rng.choice(places)), molecule.GetNumAtoms(), order)


def closed(molecule, rng):
    """A molecule with a further ring of three to six atoms, or None."""
    distances = Chem.GetDistanceMatrix(molecule)
    places = [
        (i, j) for i in free(molecule, 1) for j in free(molecule, 1) if 2 <= distances[i, j] <= 5
    ]
    if not places:
        return None
    return joined(molecule, *(int(k) for k in places[rng.integers(len(places))]), 1)


def grown(size, rng):
    """Canonical SMILES of a random molecule of a number of heavy atoms, or None if it failed."""
    ring = size > 4 and rng.random() < RING_START
    molecule = Chem.MolFromSmiles(str(rng.choice(RINGS.split())) if ring else "C")
    while molecule is not None and molecule.GetNumAtoms() < size:
        molecule = attached(molecule, rng)
    if molecule is not None and size > 3 and rng.random() < CLOSURE:
        molecule = closed(molecule, rng)
    if molecule is None or molecule.GetNumAtoms() != size:
        return None
    smiles = Chem.MolToSmiles(molecule)
    return smiles if stable(smiles) else None


def draw(count, seed):
    """List of `count` different SMILES, in the order in which they were found.

    A size that brings nothing new in 2000 walks is exhausted.
    """
    rng = np.random.default_rng(seed)
    found, misses = dict.fromkeys(SMALL), dict.fromkeys(SIZES, 0)
    while len(found) < count:
        sizes = [size for size in SIZES if misses[size] < 2000]
        fractions = np.array([SIZES[size] for size in sizes])
        size = int(rng.choice(sizes, p=fractions / fractions.sum()))
        smiles = grown(size, rng)
        new = smiles is not None and smiles not in found
        misses[size] = 0 if new else misses[size] + 1
        if new:
            found[smiles] = None
    return list(found)
