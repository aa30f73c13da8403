"""A contract: every module of the common library is used by at least two functions."""

from __future__ import annotations

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class SharedContract(Contract):
    """At least two of the packages `functions` import each module of the package `library`, maybe indirectly."""

    type_name = "shared"

    library = fields.StringField()
    functions = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        modules = {name for name in graph.modules if name.startswith(f"{self.library}.")}
        modules -= {name for name in modules if graph.find_children(name)}  # packages are used through their modules
        functions: list[str] = list(self.functions)  # type: ignore[call-overload]
        used = {function: self._used_by(graph, function) for function in functions}
        users = {module: [name for name, reached in used.items() if module in reached] for module in sorted(modules)}
        lonely = {module: names for module, names in users.items() if len(names) < 2}
        return ContractCheck(kept=not lonely, metadata={"lonely": lonely})

    def _used_by(self, graph: ImportGraph, function: str) -> set[str]:
        own = {function, *graph.find_descendants(function)}
        return set().union(*(graph.find_upstream_modules(module) for module in own))

    def render_broken_contract(self, check: ContractCheck) -> None:
        for module, names in check.metadata["lonely"].items():
            users = f"only by {names[0]}: move it there" if names else "by no function: delete it"
            output.print_error(f"{module} is used {users}.")
