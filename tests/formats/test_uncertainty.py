"""Last-layer uncertainties of checkpoints: values, policies of a run, refused input."""

import copy
import json
import pickle
import warnings

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.calculators.calculator import PropertyNotImplementedError
from ase.io import Trajectory, read, write
from ase.md.verlet import VelocityVerlet

import metatrain_files
from ase_pet import PETCalculator, TooUncertain
from ase_pet.formats import metatrain
from ase_pet.layers.llpr import cholesky
from ase_pet.store import Card, save
from paths import DATA
from test_formats_metatrain import OLD, Oracle, deviations
from tolerances import TOLERANCES, worst
from toys import silicon, tiny_pet

LLPR = (
    DATA / "pet_llpr"
)  # random weights; values: metatrain 2026.4.1, upet 0.3.1 (make_pet_llpr.py)
SAME = TOLERANCES[torch.float64]["derived"]
IN_FLOAT32 = {
    "energy": 5e-6,
    "energy_uncertainty": 5e-6,
    "energies_uncertainty": 5e-6,
    "energy_ensemble": 5e-6,
    "forces": 1e-4,
    "forces_ensemble": 1e-4,
    "forces_uncertainty": 1e-4,
}
OF_ENSEMBLE = ["energy_ensemble", "forces_ensemble", "forces_uncertainty", "stress_uncertainty"]
NEW = ["energies_uncertainty", "energy_uncertainty", *OF_ENSEMBLE]


@pytest.fixture
def oracle():
    return Oracle(f"{LLPR}.npz")


@pytest.fixture
def calculator():
    return PETCalculator(f"{LLPR}.ckpt", dtype="float64")


def uncertain(oracle):
    """A structure whose atoms are uncertain by more than 0.1 eV."""
    return oracle.atoms(["si8"])[0]


@pytest.mark.parametrize(("variant", "end"), [(None, ""), ("pbe", "_pbe")])
@pytest.mark.parametrize(
    ("dtype", "limits"), [("float64", dict.fromkeys(IN_FLOAT32, SAME)), ("float32", IN_FLOAT32)]
)
def test_values(variant, end, dtype, limits, oracle):
    calculator = PETCalculator(f"{LLPR}.ckpt", dtype=dtype, variant=variant)
    results = calculator.evaluate(oracle.atoms(oracle.names), tuple(limits))
    for name, limit in limits.items():
        errors = deviations(
            [result[name] for result in results], oracle.all(name + end, oracle.names)
        )
        assert max(errors) < limit, name


@pytest.mark.parametrize(("variant", "end"), [(None, ""), ("pbe", "_pbe")])
def test_values_of_stress(variant, end, oracle):
    calculator = PETCalculator(f"{LLPR}.ckpt", dtype="float64", variant=variant)
    results = calculator.evaluate(oracle.atoms(oracle.periodic), ("stress", "stress_uncertainty"))
    assert len(results) == 2
    for name, field in (("stress", "stress_voigt"), ("stress_uncertainty", "stress_uncertainty")):
        assert (
            max(deviations([r[name] for r in results], oracle.all(field + end, oracle.periodic)))
            < SAME
        )


@pytest.mark.parametrize("name", [f"llpr/model-{rest}" for rest in OLD["llpr"]])
def test_values_of_old_versions(name, reference_file):
    folder = reference_file("metatrain/old")
    entries = {
        entry["name"]: entry for entry in json.loads((folder / "old_checkpoints.json").read_text())
    }
    expected = entries[name]
    atoms = Atoms(expected["numbers"], expected["positions"], cell=expected["cell"], pbc=True)
    calculator = PETCalculator(folder / f"{name.replace('/', '_')}.ckpt", dtype="float64")
    results = calculator.evaluate(
        [atoms], ("energy_uncertainty", "energies_uncertainty", "energy_ensemble")
    )[0]
    fields = ("energy_uncertainty", "energy_uncertainty_atom", "energy_ensemble")
    assert (
        max(
            deviations(
                [np.ravel(value) for value in results.values()],
                [np.ravel(expected[field]) for field in fields],
            )
        )
        < SAME
    )


def test_batch_is_single_and_order_is_kept(oracle, calculator):
    atoms = oracle.atoms(oracle.names)
    together = calculator.evaluate(atoms, tuple(NEW[:-1]))
    for k, one in enumerate(atoms):
        alone = calculator.evaluate([one], tuple(NEW[:-1]))[0]
        assert all(worst(together[k][name], alone[name]) < SAME for name in alone)


def test_ensemble_of_forces_is_the_derivative_of_that_of_energies(oracle, calculator):
    atoms, step = uncertain(oracle), 1e-4
    shifted = [atoms.copy(), atoms.copy()]
    shifted[0].positions[2, 1] += step
    shifted[1].positions[2, 1] -= step
    up, down = (
        row["energy_ensemble"] for row in calculator.evaluate(shifted, ("energy_ensemble",))
    )
    results = calculator.evaluate([atoms], ("forces_ensemble",))[0]["forces_ensemble"]
    assert worst(results[2, 1], (down - up) / (2 * step)) < 1e-6


def test_ensembles_are_centred_on_the_model(oracle, calculator):
    results = calculator.evaluate(
        [uncertain(oracle)], ("energy", "forces", "energy_ensemble", "forces_ensemble")
    )[0]
    assert abs(results["energy_ensemble"].mean() - results["energy"]) < SAME
    assert worst(results["forces_ensemble"].mean(2), results["forces"]) < SAME


def test_the_network_runs_once(oracle, calculator, monkeypatch):
    counted, tokens = [], calculator.model._tokens
    monkeypatch.setattr(
        calculator.model, "_tokens", lambda *arguments: counted.append(1) or tokens(*arguments)
    )
    calculator.evaluate(
        [uncertain(oracle)], ("energy", "forces", "energy_uncertainty", "energies_uncertainty")
    )
    assert len(counted) == 1


def test_results_on_request(oracle, calculator):
    atoms = uncertain(oracle)
    atoms.calc = calculator
    atoms.get_forces()
    assert "energy_uncertainty" not in calculator.results
    assert isinstance(calculator.get_property("energy_uncertainty", atoms), float)
    assert {"energy_uncertainty", "forces", "energy"} <= calculator.results.keys()
    assert calculator.get_property("forces_uncertainty", atoms).shape == (8, 3)


def test_results_can_be_written(oracle, calculator, tmp_path):
    atoms = uncertain(oracle)
    atoms.calc = calculator
    calculator.get_property("energies_uncertainty", atoms)
    write(tmp_path / "atoms.extxyz", atoms)
    with Trajectory(tmp_path / "atoms.traj", "w", atoms) as trajectory:
        trajectory.write()
    energies = [
        read(tmp_path / name).get_potential_energy() for name in ("atoms.extxyz", "atoms.traj")
    ]
    assert worst(np.array(energies), np.full(2, atoms.get_potential_energy())) < 1e-8


def test_stress_of_a_molecule_is_refused(oracle, calculator):
    with pytest.raises(PropertyNotImplementedError, match="stress needs a cell of rank 3"):
        calculator.evaluate(oracle.atoms(["ethanol"]), ("stress_uncertainty",))


@pytest.mark.parametrize("name", NEW)
def test_models_without_uncertainties_raise(name):
    calculator = PETCalculator(tiny_pet())
    assert name not in calculator.implemented_properties
    with pytest.raises(
        PropertyNotImplementedError,
        match=f"{name}: this calculator supports energies, energy, forces",
    ):
        calculator.get_property(name, silicon())
    with pytest.raises(PropertyNotImplementedError, match=name):
        calculator.evaluate([silicon()], (name,))


@pytest.mark.parametrize("name", OF_ENSEMBLE)
def test_a_covariance_without_an_ensemble(name):
    model = tiny_pet(uncertainties={"energy": 0})
    calculator = PETCalculator(model)
    assert calculator.evaluate([silicon()], ("energy_uncertainty",))[0]["energy_uncertainty"] > 0
    assert name not in calculator.implemented_properties


def test_direct_forces_have_no_spread():
    model = tiny_pet(heads={"energy": 1, "non_conservative_forces": 3}, uncertainties={"energy": 3})
    calculator = PETCalculator(model, non_conservative="forces")
    with pytest.raises(PropertyNotImplementedError, match="nothing about direct forces"):
        calculator.evaluate([silicon()], ("forces_uncertainty",))
    assert calculator.evaluate([silicon()], ("energy_uncertainty",))[0]["energy_uncertainty"] > 0


def test_uncertainties_of_an_unknown_head():
    with pytest.raises(
        ValueError, match=r"`uncertainties` of .'energy/a'.: the heads are .'energy'"
    ):
        tiny_pet(uncertainties={"energy/a": 3})


@pytest.mark.parametrize("policy", ["warn", "stop"])
def test_policies_are_silent_below_the_threshold(policy, oracle):
    atoms = oracle.atoms(["si_atom"])[0]
    atoms.calc = PETCalculator(f"{LLPR}.ckpt", uncertainty=policy)
    assert atoms.get_potential_energy() != 0
    assert max(atoms.calc.results["energies_uncertainty"]) < 0.1


def test_warning_comes_once_until_it_is_over(oracle):
    atoms, single = uncertain(oracle), oracle.atoms(["si_atom"])[0]
    calculator = PETCalculator(f"{LLPR}.ckpt", uncertainty="warn")
    with pytest.warns(
        UserWarning,
        match=r"8 of 8 atoms is uncertain by more than 0.1 eV, .* of atom \d: atoms 0, 1, 2",
    ):
        calculator.get_property("energy", atoms)
    atoms.rattle(1e-3, seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        calculator.get_property("forces", atoms)
        calculator.get_property("energy", single)
    with pytest.warns(UserWarning, match="uncertain by more than"):
        calculator.get_property("energy", atoms)


def test_stop_ends_a_run_and_keeps_the_results(oracle):
    atoms = uncertain(oracle)
    limit = PETCalculator(f"{LLPR}.ckpt").get_property("energies_uncertainty", atoms).max() + 1e-6
    atoms.calc = PETCalculator(f"{LLPR}.ckpt", uncertainty="stop", uncertainty_threshold=limit)
    atoms.get_forces()
    atoms.set_velocities(1e-1 * np.random.default_rng(0).normal(size=(8, 3)))
    with pytest.raises(TooUncertain, match="use uncertainty='warn' to go on"):
        VelocityVerlet(atoms, 1 * units.fs).run(200)
    assert max(atoms.calc.results["energies_uncertainty"]) > limit
    assert "forces" in atoms.calc.results


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"uncertainty": "on"}, "`uncertainty` is 'on': valid choices are 'off', 'warn', 'stop'"),
        (
            {"uncertainty": "warn", "uncertainty_threshold": 0},
            "`uncertainty_threshold` is 0: expected an energy",
        ),
        (
            {"uncertainty": "warn", "uncertainty_threshold": np.nan},
            "`uncertainty_threshold` is nan",
        ),
        (
            {"uncertainty": "warn", "uncertainty_threshold": "0.1"},
            "`uncertainty_threshold` is '0.1'",
        ),
    ],
)
def test_bad_policies(arguments, message):
    with pytest.raises(ValueError, match=message):
        PETCalculator(f"{LLPR}.ckpt", **arguments)


def test_a_policy_needs_uncertainties():
    with pytest.raises(
        ValueError, match="`uncertainty` is 'stop', but this model has no uncertainties"
    ):
        PETCalculator(tiny_pet(), uncertainty="stop")


def test_copies_keep_policy_and_uncertainties(oracle):
    calculator = PETCalculator(f"{LLPR}.ckpt", uncertainty="stop", uncertainty_threshold=50.0)
    atoms = uncertain(oracle)
    expected = calculator.get_property("energy_uncertainty", atoms)
    for other in (
        copy.deepcopy(calculator),
        pickle.loads(pickle.dumps(calculator)),
        PETCalculator.fromdict(calculator.todict()),
    ):
        assert other.parameters["uncertainty"] == "stop"
        assert other.get_property("energy_uncertainty", atoms) == expected


def test_a_calculator_folder_keeps_them_bit_by_bit(oracle, tmp_path):
    model = metatrain.read(f"{LLPR}.ckpt")
    save(tmp_path / "folder", model, Card(name="llpr"))
    names = ("energy", "forces", *NEW[:-1])
    first, second = (
        PETCalculator(each, dtype="float64", variant="pbe").evaluate(
            oracle.atoms(oracle.names), names
        )
        for each in (model, tmp_path / "folder")
    )
    assert all(
        np.array_equal(one[name], two[name])
        for one, two in zip(first, second, strict=True)
        for name in names
    )


def test_cholesky_adds_the_smallest_regulariser():
    vectors = torch.randn(3, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    covariance = vectors.T @ vectors  # rank 3
    factor = cholesky(covariance)
    assert (factor.diagonal() > 0).all()
    assert worst((factor @ factor.T).numpy(), covariance.numpy()) < 1e-10
    assert cholesky(covariance.float()).dtype == torch.float32


def test_no_factor_of_a_matrix_that_is_not_a_covariance():
    with pytest.raises(ValueError, match="no Cholesky factor"):
        cholesky(torch.tensor([[1.0, 0.0], [0.0, -1e30]]))


def wrapper(**changes):
    model = tiny_pet("residual", uncertainties={"energy": 4})
    return metatrain_files.wrapper(model) | changes


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_layout_of_each_version(version, tmp_path):
    model = tiny_pet("residual", uncertainties={"energy": 4})
    read_back = metatrain.read(
        metatrain_files.save(tmp_path / "model.ckpt", metatrain_files.wrapper(model, version))
    )
    expected, results = (
        PETCalculator(each, dtype="float64").evaluate([silicon()], tuple(NEW))[0]
        for each in (model, read_back)
    )
    assert all(worst(results[name], expected[name]) < 1e-9 for name in NEW)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_ckpt_version": 5}, "`model_ckpt_version` of the LLPR wrapper: versions 1 to 4"),
        (
            {"wrapped_model_checkpoint": None},
            "`wrapped_model_checkpoint` of the LLPR wrapper is missing",
        ),
        ({"model_state_dict": None}, "`model_state_dict` of the LLPR wrapper is missing"),
        ({"model_state_dict": {"cholesky_energy_uncertainty": 1.0}}, "which is not a tensor"),
        ({"metadata": "text"}, "`metadata` is not described"),
    ],
)
def test_damaged_wrappers(change, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        metatrain.read(metatrain_files.save(tmp_path / "model.ckpt", wrapper(**change)))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "cholesky_energy_uncertainty",
            lambda tensor: tensor[:3],
            "`cholesky_energy_uncertainty` is .* expected floating",
        ),
        (
            "cholesky_energy_uncertainty",
            lambda tensor: tensor * torch.nan,
            "`cholesky_energy_uncertainty` is not finite",
        ),
        ("cholesky_energy_uncertainty", lambda tensor: -tensor, "is not positive"),
        ("multiplier_energy_uncertainty", lambda tensor: -tensor, "is not positive"),
        (
            "multiplier_energy_uncertainty",
            lambda tensor: tensor.repeat(2),
            "`multiplier_energy_uncertainty` is",
        ),
        ("covariance_energy_uncertainty", lambda tensor: tensor.int(), "is torch.int32 of shape"),
        (
            "llpr_ensemble_layers.energy.weight",
            lambda tensor: tensor[:, 1:],
            "expected floating point, any x",
        ),
    ],
)
def test_damaged_tensors(name, change, message, tmp_path):
    content = wrapper()
    content["model_state_dict"][name] = change(content["model_state_dict"][name]).contiguous()
    with pytest.raises(ValueError, match=message):
        metatrain.read(metatrain_files.save(tmp_path / "model.ckpt", content))


def test_missing_tensors(tmp_path):
    content = wrapper()
    del content["model_state_dict"]["multiplier_energy_uncertainty"]
    with pytest.raises(
        ValueError, match="`multiplier_energy_uncertainty` of the LLPR wrapper is missing"
    ):
        metatrain.read(metatrain_files.save(tmp_path / "model.ckpt", content))


def test_a_covariance_that_was_never_computed_is_left_out(tmp_path):
    content = wrapper()
    for name in ("covariance", "cholesky"):
        content["model_state_dict"][f"{name}_energy_uncertainty"] *= 0
    model = metatrain.read(metatrain_files.save(tmp_path / "model.ckpt", content))
    assert model.settings.uncertainties == {}
