"""Text of a CIF of a cubic cell of 5.43 A."""

HEAD = """data_{name}
_cell_length_a 5.43
_cell_length_b 5.43
_cell_length_c 5.43
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
{symmetry}
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
"""


def template(column):
    """Template with {name}, {symmetry} and {sites}, whose sites have one more column."""
    return HEAD + f"_atom_site_{column}\n{{sites}}\n"
