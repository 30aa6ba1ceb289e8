"""PETCalculator in ASE: results, caching, copies, files, optimisers, dynamics, batches, memory."""

import copy
import json
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.emt import EMT
from ase.calculators.fd import calculate_numerical_stress
from ase.calculators.lj import LennardJones
from ase.calculators.mixing import SumCalculator
from ase.constraints import FixAtoms
from ase.filters import FrechetCellFilter
from ase.io import Trajectory, read, write
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS, FIRE
from torch import nn

from ase_pet import PETCalculator, graph, outputs, store
from tolerances import DTYPES, TOLERANCES, worst
from toys import charged, ethanol, sheared, silicon, slab, tiny_pet

EXACT = TOLERANCES[torch.float64]
CRYSTAL = ("energy", "free_energy", "energies", "forces", "stress")
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


class Springs(nn.Module):
    """Energies of springs to all neighbours: a minimal model that is not a PET."""

    cutoff, species, local = 3.0, (1, 6, 8, 14), True

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, batch):
        self.calls += 1
        energies = 0.25 * ((batch.pair_vectors.norm(dim=1) - self.cutoff) ** 2)
        zeros = energies.new_zeros(batch.n_atoms)
        return zeros.index_add(0, batch.pair_centre, energies).index_add(
            0, batch.pair_neighbour, energies
        )


@pytest.fixture
def saved(tmp_path):
    """Path of a calculator folder."""
    store.save(tmp_path / "tiny", tiny_pet(), store.Card("tiny", dtype="float64"))
    return tmp_path / "tiny"


# Results


@every_dtype
def test_types_and_shapes_of_results(dtype):
    atoms = silicon()
    atoms.calc = PETCalculator(tiny_pet(dtype=dtype))
    atoms.calc.calculate(atoms, CRYSTAL)
    results = atoms.calc.results
    assert set(results) == set(CRYSTAL)
    assert type(results["energy"]) is float
    assert type(results["free_energy"]) is float
    shapes = {"energies": (8,), "forces": (8, 3), "stress": (6,)}
    assert {
        key: (type(results[key]), results[key].dtype, results[key].shape) for key in shapes
    } == {key: (np.ndarray, np.dtype(np.float64), shape) for key, shape in shapes.items()}


@every_dtype
def test_energies_add_up(dtype):
    calc = PETCalculator(tiny_pet(dtype=dtype))
    atoms = slab()
    assert calc.get_property("energies", atoms).sum() == pytest.approx(
        calc.get_potential_energy(atoms), rel=1e-13
    )
    assert calc.get_property("free_energy", atoms) == calc.get_potential_energy(atoms)
    assert calc.get_potential_energy(atoms, force_consistent=True) == calc.get_potential_energy(
        atoms
    )


def test_stress_is_in_the_order_and_sign_of_ase():
    """Components are numerical derivatives; the pressure has the sign of an expanded crystal."""
    atoms = silicon()
    atoms.set_cell(atoms.cell @ [[1, 0.05, 0], [0, 1.02, 0.03], [0.01, 0, 0.97]], scale_atoms=True)
    atoms.calc = PETCalculator(Springs())
    stress = atoms.get_stress()
    assert worst(stress, calculate_numerical_stress(atoms, eps=1e-5)) < EXACT["derivative"]
    assert len(set(np.round(stress, 6))) == 6
    xx, yy, zz, yz, xz, xy = stress
    np.testing.assert_allclose(
        atoms.get_stress(voigt=False), [[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]], rtol=1e-12
    )
    wide = silicon()
    wide.set_cell(1.02 * wide.cell, scale_atoms=True)
    slope = PETCalculator(Springs()).get_potential_energy(wide) - PETCalculator(
        Springs()
    ).get_potential_energy(silicon())
    assert np.sign(PETCalculator(Springs()).get_stress(silicon())[:3].sum()) == np.sign(slope)


def test_module_as_a_model():
    springs = Springs()
    calc = PETCalculator(springs)
    assert calc.get_potential_energy(Atoms("Si2", [[0, 0, 0], [0, 0, 2]])) == 0.5
    np.testing.assert_allclose(
        calc.get_forces(Atoms("Si2", [[0, 0, 0], [0, 0, 2]])), [[0, 0, -1], [0, 0, 1]]
    )
    assert (calc.cutoff, calc.species) == (3.0, (1, 6, 8, 14))
    assert springs.calls == 0  # the calculator owns a copy


def test_user_model_is_not_changed():
    model = tiny_pet("several heads")
    state = {key: value.clone() for key, value in model.state_dict().items()}
    model.train()
    PETCalculator(model, dtype="float32", variant="other").get_forces(silicon())
    assert model.training
    assert model.energy_head == "energy"
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_implemented_properties_are_the_outputs():
    calc = PETCalculator(tiny_pet(heads={"energy": 1, "dipole": 3}, uncertainties={"energy": 2}))
    assert set(CRYSTAL) <= set(calc.implemented_properties)
    assert calc.implemented_properties == sorted(outputs.OUTPUTS)
    assert calc.implemented_properties is not PETCalculator(tiny_pet()).implemented_properties


@pytest.mark.parametrize("name", sorted(outputs.OUTPUTS))
def test_outputs_name_their_unit(name):
    output = outputs.OUTPUTS[name]
    assert output.name == name
    assert output.unit in ("eV", "eV/A", "eV/A^3", "e A")


# Modules of other programs


class Variants(Springs):
    """Two energy heads, of which the second is twice the first, without `predict`."""

    def __init__(self):
        super().__init__()
        self.settings = SimpleNamespace(
            heads={"energy": 1, "energy/b": 1, "dipole": 3}, system_conditioning=True
        )
        self.energy_head = "energy"

    @property
    def composition(self):
        return {14: -1.0 if self.energy_head == "energy" else -3.0}

    def forward(self, batch):
        charge = batch.charge[batch.structure]
        return super().forward(batch) * (1 + (self.energy_head == "energy/b")) + charge


def test_modules_of_other_programs_may_lack_methods():
    atoms, springs = silicon(), PETCalculator(Springs(), dtype="float64")
    energy = springs.evaluate([atoms], ("energy",))[0]["energy"]
    calc = PETCalculator(Variants(), dtype="float64")
    other = PETCalculator(Variants(), dtype="float64", variant="b")
    assert calc.evaluate([atoms], ("energy",))[0]["energy"] == pytest.approx(energy - 8)
    assert other.evaluate([atoms], ("energy",))[0]["energy"] == pytest.approx(2 * energy - 24)
    charged(atoms)
    assert calc.evaluate([atoms], ("energy",))[0]["energy"] == pytest.approx(energy)
    assert "dipole" not in calc.implemented_properties
    assert calc.model.local
    assert pickle.loads(pickle.dumps(calc)).model.settings == calc.model.settings


def test_results_stay_those_of_the_stored_atoms_when_a_calculation_is_refused():
    atoms, other = silicon(), silicon(seed=9)
    calc = PETCalculator(tiny_pet())
    calc.calculate(atoms, ("energy",))
    with pytest.raises(PropertyNotImplementedError, match="magmoms"):
        calc.calculate(other, ("magmoms",))
    expected = PETCalculator(tiny_pet()).evaluate([other], ("energy",))[0]["energy"]
    assert calc.get_potential_energy(other) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("value", [[[1], [2, 3]], np.array([1.0, 2.0]), None])
def test_odd_charges_are_compared(value):
    atoms = silicon()
    calc = PETCalculator(tiny_pet())
    calc.calculate(atoms, ("energy",))
    atoms.info["charge"] = value
    assert calc.check_state(atoms) == (["charge"] if value is not None else [])


# Caching


def counting(**options):
    calc = PETCalculator(Springs(), **options)
    return calc, calc.model


def test_nothing_is_computed_twice():
    calc, model = counting()
    atoms = silicon()
    atoms.calc = calc
    forces = atoms.get_forces()
    assert model.module.calls == 1
    for call in (
        atoms.get_forces,
        atoms.get_stress,
        atoms.get_potential_energy,
        atoms.get_forces,
        atoms.get_potential_energies,
    ):
        call()
    assert model.module.calls == 1
    assert calc._neighbours.searches == 1
    forces[:] = 0
    assert np.abs(atoms.get_forces()).max() > 0


def test_only_requested_properties_are_computed():
    calc, _ = counting()
    calc.get_potential_energy(silicon())
    assert set(calc.results) == {"energy", "free_energy", "energies"}
    calc.get_forces(silicon())
    assert set(calc.results) == {"energy", "free_energy", "energies", "forces"}
    assert set(calc.evaluate([silicon()], ["forces"])[0]) == {"forces"}


def displaced(atoms):
    atoms.positions[0, 0] += 1e-9


def strained(atoms):
    atoms.cell[0, 0] += 1e-3


@pytest.mark.parametrize(
    "change",
    [
        displaced,
        strained,
        lambda atoms: atoms.set_pbc((True, False, True)),
        lambda atoms: atoms.symbols.__setitem__(0, "C"),
        lambda atoms: atoms.__delitem__(0),
        lambda atoms: atoms.info.update(charge=1),
        lambda atoms: atoms.info.update(spin=2),
    ],
)
def test_every_change_is_noticed(change):
    calc, model = counting()
    atoms = silicon()
    atoms.calc = calc
    atoms.get_forces()
    atoms.get_stress()
    change(atoms)
    atoms.get_forces()
    assert model.module.calls == 2
    assert "stress" not in calc.results


@pytest.mark.parametrize("info", [{"charge": 1}, {"charge": -1}, {"spin": 3}])
def test_charge_and_spin_are_noticed_and_forgotten(info):
    atoms = ethanol()
    atoms.calc = PETCalculator(tiny_pet("conditioning"))
    neutral = atoms.get_potential_energy()
    atoms.info.update(info)
    changed = atoms.get_potential_energy()
    assert abs(changed - neutral) > 1e-6
    assert changed == pytest.approx(
        PETCalculator(tiny_pet("conditioning")).get_potential_energy(atoms), abs=1e-12
    )
    atoms.info.clear()
    assert atoms.get_potential_energy() == pytest.approx(neutral, abs=1e-12)


def test_info_changed_in_place_is_noticed():
    """`atoms.info` of the last calculation is a copy."""
    atoms = charged(ethanol())
    atoms.calc = PETCalculator(tiny_pet("conditioning"))
    first = atoms.get_potential_energy()
    atoms.info["charge"] = np.int64(0)
    assert atoms.get_potential_energy() != first


def test_calculate_called_directly_leaves_no_old_results():
    calc = PETCalculator(tiny_pet())
    calc.calculate(silicon(), ["forces", "stress"])
    calc.calculate(ethanol(), ["energy"])
    assert set(calc.results) == {"energy", "free_energy", "energies"}
    assert calc.results["energy"] == pytest.approx(
        PETCalculator(tiny_pet()).get_potential_energy(ethanol()), abs=1e-12
    )


def test_calculators_shared_by_structures():
    calc = PETCalculator(tiny_pet())
    parts = [silicon(), ethanol(), slab()]
    expected = [PETCalculator(tiny_pet()).get_forces(atoms) for atoms in parts]
    for _ in range(2):
        for atoms, forces in zip(parts, expected, strict=True):
            atoms.calc = calc
            assert worst(atoms.get_forces(), forces) < EXACT["same"]


def test_reset():
    calc, model = counting()
    calc.get_forces(silicon())
    calc.reset()
    assert calc.results == {}
    calc.get_forces(silicon())
    assert model.module.calls == 2


# Copies and files


@pytest.mark.parametrize(
    "duplicate",
    [
        copy.deepcopy,
        lambda calc: pickle.loads(pickle.dumps(calc)),
        lambda calc: PETCalculator.fromdict(calc.todict()),
        lambda calc: PETCalculator.fromdict(json.loads(json.dumps(calc.todict()))),
    ],
    ids=["deepcopy", "pickle", "todict", "json"],
)
@pytest.mark.parametrize("properties", [(), ("forces",)], ids=["new", "used"])
def test_copies(saved, duplicate, properties):
    original = PETCalculator(saved, skin=0.5, batch_atoms=20)
    original.evaluate([ethanol()])
    [original.get_property(name, silicon()) for name in properties]
    twin = duplicate(original)
    assert worst(twin.get_forces(silicon()), original.get_forces(silicon())) < EXACT["same"]
    assert worst(twin.get_stress(silicon()), original.get_stress(silicon())) < EXACT["same"]
    assert worst(twin.get_forces(ethanol()), original.get_forces(ethanol())) < EXACT["same"]
    assert twin.todict() == original.todict()
    assert (twin.cutoff, twin.species, twin.dtype, twin.card) == (
        original.cutoff,
        original.species,
        original.dtype,
        original.card,
    )
    assert twin.model is not original.model


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda calc: pickle.loads(pickle.dumps(calc))]
)
def test_copies_of_a_calculator_of_a_module(duplicate):
    original = PETCalculator(tiny_pet(dtype=torch.float32))
    expected = original.get_forces(silicon())
    np.testing.assert_array_equal(duplicate(original).get_forces(silicon()), expected)


def test_fromdict_without_a_model():
    with pytest.raises(ValueError, match="made from a module"):
        PETCalculator.fromdict(PETCalculator(tiny_pet()).todict())


def test_arguments_survive_todict(saved):
    arguments = {
        "model": str(saved),
        "device": "cpu",
        "dtype": "float32",
        "symmetrise": "none",
        "skin": 0.3,
        "batch_atoms": 7,
        "compile": False,
        "non_conservative": False,
        "uncertainty": "off",
        "uncertainty_threshold": 0.2,
    }
    assert PETCalculator.fromdict(arguments).todict() == arguments


@pytest.mark.parametrize("make", [silicon, ethanol, slab])
def test_trajectory(saved, tmp_path, make):
    atoms = make()
    atoms.calc = PETCalculator(saved)
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    with Trajectory(tmp_path / "run.traj", "w", atoms) as trajectory:
        trajectory.write()
        atoms.rattle(0.01, seed=0)
        atoms.get_forces()
        trajectory.write()
    frames = read(tmp_path / "run.traj", ":")
    assert len(frames) == 2
    assert frames[0].get_potential_energy() == energy
    np.testing.assert_array_equal(frames[0].get_forces(), forces)
    assert frames[0].calc.name == "ase_pet"
    assert frames[1].get_potential_energy() != energy


@pytest.mark.parametrize("make", [silicon, ethanol])
def test_extended_xyz(tmp_path, make):
    atoms = make()
    atoms.calc = PETCalculator(tiny_pet())
    forces = atoms.get_forces()
    write(tmp_path / "one.extxyz", atoms)
    again = read(tmp_path / "one.extxyz")
    assert again.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=1e-6)
    np.testing.assert_allclose(again.get_forces(), forces, atol=1e-6)


# With the rest of ASE


@pytest.mark.parametrize(
    "other", [LennardJones(sigma=2.0, epsilon=0.01, rc=4.0), EMT()], ids=["LJ", "EMT"]
)
def test_sum_of_calculators(other):
    atoms = Atoms("CHO", [[0, 0, 0], [0, 0, 1.3], [1.2, 0, 0]], cell=[9, 9, 9], pbc=True)
    calc = PETCalculator(tiny_pet())
    total = SumCalculator([calc, other])
    assert total.get_potential_energy(atoms) == pytest.approx(
        calc.get_potential_energy(atoms) + other.get_potential_energy(atoms), abs=1e-10
    )
    np.testing.assert_allclose(
        total.get_forces(atoms), calc.get_forces(atoms) + other.get_forces(atoms), atol=1e-10
    )
    np.testing.assert_allclose(
        total.get_stress(atoms), calc.get_stress(atoms) + other.get_stress(atoms), atol=1e-12
    )


def test_constraints():
    atoms = silicon()
    atoms.calc = PETCalculator(tiny_pet())
    free = atoms.get_forces()
    atoms.set_constraint(FixAtoms([0, 3]))
    held = atoms.get_forces()
    np.testing.assert_array_equal(held[[0, 3]], np.zeros((2, 3)))
    np.testing.assert_array_equal(held[[1, 2]], free[[1, 2]])


@pytest.mark.parametrize("optimiser", [BFGS, FIRE])
@pytest.mark.parametrize(
    "cell", [FrechetCellFilter, lambda atoms: atoms], ids=["cell", "positions"]
)
def test_optimisers(optimiser, cell):
    atoms = bulk_of_springs()
    atoms.rattle(0.05, seed=1)
    atoms.calc = PETCalculator(Springs())
    before = atoms.get_potential_energy()
    optimiser(cell(atoms), logfile=None).run(fmax=1e-3, steps=5)
    assert atoms.get_potential_energy() < before


def bulk_of_springs():
    atoms = silicon()
    atoms.set_cell(0.9 * atoms.cell, scale_atoms=True)
    return atoms


def test_velocity_verlet_conserves_energy():
    atoms = silicon()
    atoms.calc = PETCalculator(Springs(), skin=0.3)
    thermalize_momenta(atoms, temperature_K=300, rng=np.random.default_rng(0))
    before = atoms.get_total_energy()
    VelocityVerlet(atoms, 0.5 * units.fs).run(60)
    assert abs(atoms.get_total_energy() - before) < 2e-3 * atoms.get_kinetic_energy()
    assert atoms.calc._neighbours.searches < 10


def test_langevin_runs():
    atoms = silicon()
    atoms.calc = PETCalculator(Springs())
    Langevin(
        atoms, units.fs, temperature_K=300, friction=0.01, fixcm=False, rng=np.random.default_rng(0)
    ).run(5)
    assert np.isfinite(atoms.get_total_energy())


# Batches


def many():
    parts = [
        silicon(),
        ethanol(),
        Atoms("H"),
        slab(),
        sheared(),
        Atoms("SiO", [[0, 0, 0], [0, 0, 7]]),
        silicon(seed=9),
    ]
    return [charged(atoms) for atoms in parts[:2]] + parts[2:]


@pytest.mark.parametrize("batch_atoms", [1, 8, 10, 17, None])
def test_evaluate_keeps_the_order(batch_atoms):
    calc = PETCalculator(tiny_pet("conditioning"), batch_atoms=batch_atoms)
    results = calc.evaluate(iter(many()), ("energy", "energies", "forces"))
    assert len(results) == 7
    for atoms, values in zip(many(), results, strict=True):
        single = PETCalculator(tiny_pet("conditioning"))
        assert type(values["energy"]) is float
        assert worst(values["energy"], single.get_potential_energy(atoms)) < EXACT["same"]
        assert worst(values["energies"], single.get_property("energies", atoms)) < EXACT["same"]
        assert np.abs(values["forces"] - single.get_forces(atoms)).max() < 100 * EXACT["same"]


@pytest.mark.parametrize(
    ("batch_atoms", "sizes"),
    [
        (1, [8, 9, 1, 6, 2, 2, 8]),
        (10, [8, 10, 10, 8]),
        (18, [18, 18]),
        (17, [17, 11, 8]),
        (1000, [36]),
    ],
)
def test_chunks_are_bounded(batch_atoms, sizes):
    calc, seen = PETCalculator(Springs(), batch_atoms=batch_atoms), []
    calc.model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].n_atoms))
    calc.evaluate(many(), ["energy"])
    assert seen == sizes


def test_evaluate_leaves_the_state_alone():
    calc, model = counting()
    atoms = silicon()
    atoms.calc = calc
    forces = atoms.get_forces()
    calc.evaluate(many())
    assert model.module.calls == 2
    np.testing.assert_array_equal(atoms.get_forces(), forces)
    assert model.module.calls == 2
    assert calc._neighbours.searches == 1


def test_evaluate_of_nothing():
    assert PETCalculator(tiny_pet()).evaluate([]) == []


def test_results_of_a_batch_are_independent():
    first, second = PETCalculator(tiny_pet()).evaluate([silicon(), silicon()])
    first["forces"][:] = 7
    assert np.abs(second["forces"] - 7).min() > 0


# Memory


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
    MemoryError(),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: "
        "you tried to allocate 80000000000 bytes. Error code 12 (Cannot allocate memory)"
    ),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
]


def limited(monkeypatch, error, most):
    """A calculator whose model runs out of memory beyond `most` atoms, and its batch sizes."""
    calc, sizes = PETCalculator(Springs()), []
    forward = Springs.forward

    def refuse(self, batch):
        sizes.append(batch.n_atoms)
        if batch.n_atoms > most:
            raise error
        return forward(self, batch)

    monkeypatch.setattr(Springs, "forward", refuse)
    return calc, sizes


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: str(error)[:20])
def test_smaller_chunks_where_memory_runs_out(monkeypatch, error):
    expected = PETCalculator(Springs()).evaluate(many())
    calc, sizes = limited(monkeypatch, error, 12)
    results = calc.evaluate(many())
    sizes = np.array(sizes)
    assert sizes[0] == 36
    assert sizes[sizes <= 12].sum() == 36
    for one, other in zip(results, expected, strict=True):
        np.testing.assert_allclose(one["forces"], other["forces"], atol=1e-12)


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: str(error)[:20])
def test_memory_error_names_atoms_and_edges(monkeypatch, error):
    calc, _ = limited(monkeypatch, error, 7)
    edges = 2 * len(graph.half_list(graph.from_atoms(silicon()), 3.0).centres)
    for call in (
        lambda: calc.evaluate(many()),
        lambda: calc.get_forces(silicon()),
        lambda: calc.get_potential_energy(silicon()),
    ):
        with pytest.raises(
            MemoryError,
            match=(
                f"on cpu with 8 atoms and {edges} edges in 1 structures: use a smaller"
                " `batch_atoms`"
            ),
        ):
            call()
    np.testing.assert_array_equal(calc.get_forces(Atoms("H")), np.zeros((1, 3)))


def test_other_errors_pass(monkeypatch):
    calc, sizes = limited(monkeypatch, RuntimeError("shapes do not fit"), 7)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        calc.evaluate(many())
    assert len(sizes) == 1


# Second derivatives


def test_hessian_is_symmetric_and_of_the_right_shape():
    hessian = PETCalculator(tiny_pet()).hessian(slab())
    assert (hessian.shape, hessian.dtype) == ((18, 18), np.float64)
    assert worst(hessian, hessian.T) < EXACT["derived"]
    assert np.abs(hessian.reshape(18, 6, 3).sum(1)).max() < 1e-10 * np.abs(hessian).max()


def test_hessian_of_springs():
    """A dimer at 2 A: curvature 2 x 0.25 x 2 = 1 along the bond, slope / distance across."""
    hessian = PETCalculator(Springs()).hessian(Atoms("Si2", [[0, 0, 0], [0, 0, 2]]))
    block = np.diag([-0.5, -0.5, 1.0])
    np.testing.assert_allclose(hessian, np.block([[block, -block], [-block, block]]), atol=1e-12)


def test_hessian_of_the_solver_is_refused():
    with pytest.raises(
        PropertyNotImplementedError, match="second derivatives of this model are not exact"
    ):
        PETCalculator(tiny_pet("solver")).hessian(silicon())


def test_hessian_does_not_disturb_the_state():
    calc, model = counting()
    atoms = silicon()
    atoms.calc = calc
    atoms.get_forces()
    calc.hessian(silicon())
    atoms.get_forces()
    assert model.module.calls == 2


# Precision


def test_default_dtype_is_that_of_the_card(tmp_path):
    store.save(tmp_path / "single", tiny_pet(), store.Card("single", dtype="float32"))
    assert PETCalculator(tmp_path / "single").dtype == torch.float32
    assert PETCalculator(tmp_path / "single", dtype="float64").dtype == torch.float64
    assert PETCalculator(tiny_pet()).dtype == torch.float64
    assert PETCalculator(tiny_pet(dtype=torch.float32)).dtype == torch.float32


def test_calculators_of_both_precisions_side_by_side():
    low, high = (PETCalculator(tiny_pet(), dtype=dtype) for dtype in ("float32", "float64"))
    expected = high.get_forces(silicon())
    low.get_forces(ethanol())
    high.get_forces(ethanol())
    assert 1e-12 < worst(low.get_forces(silicon()), expected) < 1e-4
    np.testing.assert_array_equal(high.get_forces(silicon()), expected)


# CUDA


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA on this machine")
@every_dtype
def test_cuda_calculator(dtype):
    expected, actual = (
        PETCalculator(tiny_pet(dtype=dtype), device=device) for device in ("cpu", "cuda")
    )
    actual.calculate(silicon(), CRYSTAL)
    expected.calculate(silicon(), CRYSTAL)
    for key in CRYSTAL:
        assert worst(actual.results[key], expected.results[key]) < 10 * TOLERANCES[dtype]["derived"]
    assert (
        worst(pickle.loads(pickle.dumps(actual)).get_forces(slab()), expected.get_forces(slab()))
        < 10 * TOLERANCES[dtype]["derived"]
    )
