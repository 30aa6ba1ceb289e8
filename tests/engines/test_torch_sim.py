"""torch-sim with calculators of this package, against ASE."""

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet
from ase.stress import voigt_6_to_full_3x3_stress

import toys
from ase_pet import InvalidStructure, PETCalculator

ts = pytest.importorskip("torch_sim", reason="needs torch-sim (extra `engines`)")
from torch_sim.units import MetalUnits  # noqa: E402

from ase_pet.engines.torch_sim import TorchSimModel  # noqa: E402

CPU = torch.device("cpu")
STEP = 0.001 * MetalUnits.time  # 1 fs
OPTIONS = {"dtype": "float64", "device": "cpu"}


def systems(count=8):
    """Silicon of several sizes, densities and temperatures."""
    crystals = []
    for k in range(count):
        atoms = bulk("Si", cubic=k % 2 == 0, a=5.36 + 0.03 * k)
        rng = np.random.default_rng(k)
        atoms.rattle(0.03, rng=rng)
        thermalize_momenta(atoms, 200 + 80 * k, rng=rng)
        crystals.append(atoms)
    return crystals


def state_of(crystals, dtype=torch.float64):
    return ts.io.atoms_to_state(crystals, CPU, dtype)


def differences(results, model_output):
    """Largest deviations of energies, forces and stresses from results of ASE."""
    energies = np.array([row["energy"] for row in results])
    forces = np.concatenate([row["forces"] for row in results])
    stresses = [voigt_6_to_full_3x3_stress(row["stress"]) for row in results]
    expected = {"energy": energies, "forces": forces, "stress": np.array(stresses)}
    return {
        name: np.abs(model_output[name].numpy() - value).max() for name, value in expected.items()
    }


def model_of(name, symmetrise=None):
    toy = toys.tiny_pet(name, species=(6, 14, 26)) if name else "silicon"
    return PETCalculator(toy, symmetrise=symmetrise, **OPTIONS)


@pytest.mark.parametrize(
    ("name", "symmetrise"),
    [(None, None), ("base", None), ("solver", None), ("local", "ecse"), ("base", "group:O")],
)
def test_results_are_those_of_ase(name, symmetrise):
    calculator = model_of(name, symmetrise)
    crystals = systems(3)
    names = ("energy", "forces", "stress")
    found = TorchSimModel(calculator)(state_of(crystals))
    assert max(differences(calculator.evaluate(crystals, names), found).values()) < 1e-11


def test_the_model_keeps_the_contract_of_torch_sim():
    try:
        from torch_sim.models.interface import validate_model_outputs
    except ImportError:  # later versions
        from torch_sim.testing import validate_model_outputs
    calculator = model_of("base")
    calculator.model.compositions = {"energy": {26: 1.0}}
    model = TorchSimModel(calculator, compute_stress=False)
    validate_model_outputs(model, CPU, torch.float64)
    validate_model_outputs(model, CPU, torch.float32)


def momenta_of(crystals):
    return torch.from_numpy(np.concatenate([atoms.get_momenta() for atoms in crystals]))


def advanced(model, crystals, steps):
    """State after steps of velocity Verlet, by the integrators of either version of torch-sim."""
    state = state_of(crystals)
    step = torch.tensor(STEP, dtype=torch.float64)
    unused = torch.tensor(0.0, dtype=torch.float64)  # temperature of random momenta
    try:
        from torch_sim.integrators import nve

        start, update = nve(model, dt=step, kT=unused)
        moving = start(state)
    except ImportError:  # later versions
        from torch_sim.integrators import nve_init, nve_step

        moving = nve_init(state, model, kT=unused)

        def update(state):
            return nve_step(state, model, dt=step)

    moving.momenta = momenta_of(crystals)
    for _ in range(steps):
        moving = update(moving)
    return moving


def displacements(crystals, positions):
    """Distances (n,) in A from positions, modulo the lattice."""
    parts = np.split(positions.numpy(), np.cumsum([len(atoms) for atoms in crystals])[:-1])
    distances = []
    for atoms, part in zip(crystals, parts, strict=True):
        fractional = (part - atoms.positions) @ np.linalg.inv(atoms.cell.array)
        shortest = (fractional - np.rint(fractional)) @ atoms.cell.array
        distances.append(np.linalg.norm(shortest, axis=1))
    return np.concatenate(distances)


def run_as_in_ase(steps):
    """Largest deviation in A of eight trajectories in one batch from those of ASE."""
    crystals = systems()
    model = TorchSimModel("silicon", **OPTIONS)
    moving = advanced(model, crystals, steps)
    assert 1 <= model.searches <= 1 + steps / 10
    for atoms in crystals:
        atoms.calc = PETCalculator("silicon", **OPTIONS)
        VelocityVerlet(atoms, STEP).run(steps)
    return displacements(crystals, moving.positions).max()


def test_trajectories_are_those_of_ase():
    assert run_as_in_ase(5) < 1e-12


@pytest.mark.slow
def test_long_trajectories_are_those_of_ase():
    assert run_as_in_ase(200) < 1e-11


def test_a_list_with_a_skin_is_that_of_a_search():
    """Atoms and cells move, and atoms are wrapped: the results stay those of a new search."""
    calculator = PETCalculator(toys.tiny_pet("base"), skin=1.0, **OPTIONS)
    model = TorchSimModel(calculator)
    crystals = [toys.silicon(1), toys.sheared()]
    rng = np.random.default_rng(2)
    for step in range(12):
        strain = np.eye(3) + 0.01 * rng.normal(size=(3, 3))
        for atoms in crystals:
            atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            atoms.positions += 0.05 * rng.normal(size=(len(atoms), 3))
            periods = rng.integers(-1, 2, size=(len(atoms), 3))
            atoms.positions += periods @ atoms.cell.array
        names = ("energy", "forces", "stress")
        state = state_of(crystals)
        worst = differences(calculator.evaluate(crystals, names), model(state))
        assert max(worst.values()) < 1e-10, step
    assert 1 < model.searches < 12


def test_atoms_that_move_in_place_are_noticed():
    crystals = systems(2)
    model = TorchSimModel(model_of("base"))
    state = state_of(crystals)
    model(state)
    state.positions[0] += 0.7
    crystals[0].positions[0] += 0.7
    expected = model_of("base").evaluate(crystals, ("energy", "forces", "stress"))
    assert max(differences(expected, model(state)).values()) < 1e-11


def test_molecules_have_no_stress():
    molecule = toys.ethanol()
    calculator = PETCalculator(toys.tiny_pet("base"), **OPTIONS)
    found = TorchSimModel(calculator)(state_of([molecule, molecule]))
    expected = calculator.evaluate([molecule], ("energy", "forces"))[0]
    assert np.abs(found["forces"][: len(molecule)].numpy() - expected["forces"]).max() < 1e-12
    assert torch.isnan(found["stress"]).all()


def test_weights_in_float32_leave_states_in_float64():
    calculator = PETCalculator("silicon", dtype="float32", device="cpu")
    model = TorchSimModel(calculator)
    assert model.dtype == torch.float64
    crystals = systems(2)
    names = ("energy", "forces", "stress")
    worst = differences(calculator.evaluate(crystals, names), model(state_of(crystals)))
    assert worst["forces"] < 1e-5
    assert model(state_of(crystals, torch.float32))["forces"].dtype == torch.float32


@pytest.mark.parametrize("bad", [np.nan, 1e12])
def test_bad_positions_are_refused(bad):
    crystals = systems(2)
    model = TorchSimModel(model_of("base"))
    model(state_of(crystals))
    crystals[1].positions[0, 1] = bad
    with pytest.raises(InvalidStructure, match="^system 1: `positions` of atom 0"):
        model(state_of(crystals))


def test_atoms_that_meet_between_searches_are_refused():
    crystals = systems(2)
    for atoms in crystals:
        atoms.positions[1] = atoms.positions[0] + [0.55, 0, 0]
    model = TorchSimModel(model_of("base"))
    model(state_of(crystals))
    crystals[1].positions[1] = crystals[1].positions[0] + [0.08, 0, 0]
    with pytest.raises(InvalidStructure, match=r"^system 1: two atoms are 0\.08 A apart"):
        model(state_of(crystals))


def test_an_uncertainty_policy_is_refused(reference_file):
    calculator = PETCalculator(reference_file("pet_llpr.ckpt"), uncertainty="stop", device="cpu")
    with pytest.raises(ValueError, match="`uncertainty` is 'stop'"):
        TorchSimModel(calculator)
    with pytest.raises(ValueError, match="`dtype` is an option of a calculator"):
        TorchSimModel(model_of("base"), dtype="float64")
