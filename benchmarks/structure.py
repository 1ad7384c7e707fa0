"""Measures the architecture: modules, lines, import cycles, imports against the layers.

``python -m benchmarks.structure [folder]``; lazy and type-checking imports count. Not a measurement of speed, so
``make bench`` leaves it out.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import grimp
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

ROOTS = {"ipyllm": "service", "ipyllm_magics": "magics", "ipyllm_widgets": "widgets"}


def main(folder: Path) -> None:
    sys.path[:0] = [str(folder / source) for source in ROOTS.values()]
    graph = grimp.build_graph(*ROOTS, exclude_type_checking_imports=False, cache_dir=None)
    files = [file for root, source in ROOTS.items() for file in (folder / source / root).rglob("*.py")]
    imports = {
        (importer, imported)
        for importer in graph.modules
        for imported in graph.find_modules_directly_imported_by(importer)
    }
    units = {module: ".".join(module.split(".")[:2]) for module in graph.modules}
    unit_imports = {(units[a], units[b]) for a, b in imports if units[a] != units[b]}
    print(f"modules                          {len(files):>6}")
    print(
        f"  flat in ipyllm, magics, widgets{sum(len(list((folder / s / r).glob('*.py'))) for r, s in ROOTS.items()):>6}"
    )
    print(f"lines                            {sum(len(f.read_text('utf-8').splitlines()) for f in files):>6,}")
    print(f"imports between modules          {len(imports):>6}")
    print(f"packages and modules at the top  {len(set(units.values())):>6}")
    print(f"imports between these            {len(unit_imports):>6}")
    modules = cycles(graph.modules, imports)
    print(f"cycles of modules                {len(modules):>6}, of {sum(map(len, modules))} modules")
    unit_cycles = cycles(set(units.values()), unit_imports)
    print(f"cycles of packages               {len(unit_cycles):>6}, of {sum(map(len, unit_cycles))} packages")
    breakers = set().union(*(graph.nominate_cycle_breakers(root) for root in ROOTS))
    print(f"imports that close these cycles  {len(breakers):>6}")
    for a, b in sorted(breakers):
        print(f"    {a} -> {b}")
    contracts = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    for contract in contracts:
        if contract["type"] == "layers":
            layers = [
                f"{contract['containers'][0]}.{unit.strip()}" for row in contract["layers"] for unit in row.split("|")
            ]
            layer_of = {unit: n for n, unit in enumerate(layers)}
            illegal = [(a, b) for a, b in unit_imports if layer_of.get(a, -1) > layer_of.get(b, len(layers))]
            print(
                f"imports against the layers       {len(illegal):>6}, of {len(layers)} packages and modules in layers"
            )


def cycles(nodes: set[str], edges: set[tuple[str, str]]) -> list[list[str]]:
    """Return the strongly connected components of more than one node."""
    names = sorted(nodes)
    number = {name: n for n, name in enumerate(names)}
    rows, columns = zip(*((number[a], number[b]) for a, b in edges), strict=True)
    matrix = coo_array(([True] * len(rows), (rows, columns)), shape=(len(names), len(names)))
    _, component = connected_components(matrix, connection="strong")
    members = [[name for name, c in zip(names, component, strict=True) if c == n] for n in set(component)]
    return [member for member in members if len(member) > 1]


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve())
