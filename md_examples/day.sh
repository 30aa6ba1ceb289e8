#!/bin/sh
# One afternoon with a crystal: from a CIF file to phonons, thermal expansion and dynamics.
#
#   sh md_examples/day.sh [FOLDER]            less than an hour on one core
#   SMALL=1 sh md_examples/day.sh [FOLDER]    a minute: the same steps, far from converged
#
# docs/guides/day.md names every file that it writes. An interrupted script starts again where it was:
# what is complete is skipped, and dynamics continue.
set -eu

folder=${1:-day}
ase_pet="${ASE_PET:-ase-pet}"
calculator=${CALCULATOR:-silicon}

supercell=2,2,2 mesh=21,21,21 temperatures=0:1000:20 strains=-0.015:0.025:0.005
repeat=2,2,2 ramp=20 heating=25 warm=5 npt=50
if [ "${SMALL:-0}" = 1 ]; then
    supercell=1,1,1 mesh=5,5,5 temperatures=0:800:200 strains=-0.01:0.02:0.0075
    repeat=1,1,1 ramp=0.08 heating=0.1 warm=0.02 npt=0.1
fi

mkdir -p "$folder"
cd "$folder"

# 1. A structure as a database gives it.
[ -f Si.cif ] || cat > Si.cif <<'CIF'
data_silicon
_space_group_name_H-M_alt 'F d -3 m:1'
_space_group_IT_number 227
_cell_length_a 5.431
_cell_length_b 5.431
_cell_length_c 5.431
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Si1 Si 0 0 0
CIF

# 2. Atoms and cell at the minimum of the energy.
[ -f relaxed/relax.json ] || $ase_pet relax "$calculator" Si.cif --output relaxed

# 3. Phonons: bands, density of states, imaginary modes if there are any.
[ -f phonons/phonons.json ] ||
    $ase_pet phonons "$calculator" relaxed/relaxed.extxyz --supercell "$supercell" --mesh "$mesh" \
        --output phonons

# 4. Thermal expansion and heat capacity in the quasi-harmonic approximation.
[ -f qha/qha.json ] ||
    $ase_pet qha "$calculator" relaxed/relaxed.extxyz --supercell "$supercell" --mesh "$mesh" \
        --temperatures "$temperatures" --strains="$strains" --gruneisen --output qha

# 5. Heating from 300 to 900 K at constant volume.
[ -f heating/md.json ] ||
    $ase_pet md "$calculator" relaxed/relaxed.extxyz --repeat "$repeat" --ensemble nvt \
        --temperature 300:900 --ramp-time "$ramp" --time "$heating" --thermostat-time 100 \
        --timestep 2 --seed 1 --output heating --restart

# 6. 900 K at no pressure, from the last structure and velocities of the heating.
[ -f npt/md.json ] ||
    $ase_pet md "$calculator" heating/final.extxyz --ensemble npt --temperature 900 --pressure 0 \
        --momenta keep --equilibrate "$warm" --time "$npt" --timestep 2 --thermostat-time 100 \
        --barostat-time 500 --interval 5 --thermo-interval 5 --output npt --restart

# 7. Structure, motion and thermodynamics of the run, and a report for people.
[ -f npt/analysis/analysis.json ] || $ase_pet analyse npt --html

# 8. Energies and forces of the trajectory, as data for training or for another model.
[ -f labelled.extxyz ] ||
    $ase_pet singlepoint "$calculator" npt/trajectory.traj --output labelled.extxyz
