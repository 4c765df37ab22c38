"""The library's reference, by pdoc from the docstrings and the README: `python -m tests.reference [FOLDER]`.

`PAGES` says what is on it. What single backticks enclose in a docstring is a name on one of the pages, and becomes a
link; an indented block is an example. It ends with 1, and says why, for a warning of pdoc, for a name or a link that
leads nowhere, and for a member without a sentence.
"""

from __future__ import annotations

import asyncio
import builtins
import inspect
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import Field, fields, is_dataclass
from enum import Enum
from importlib import import_module
from itertools import chain
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ecsbatch.engine.ports import Cloud, Ledger, Store
from ecsbatch.model.text import counted

if TYPE_CHECKING:
    from pdoc.doc import Class, Doc, Module

ROOT = Path(__file__).parent.parent

PAGES: Final[Mapping[str, Sequence[str]]] = {
    "ecsbatch": import_module("ecsbatch").__all__,
    "ecsbatch.errors": (),
    "ecsbatch.testing": ("World", "CloudConfig", "Faults", "Hang", "Killed"),
    "ecsbatch.simulator.cloud": ("SimulatedCloud",),
    "ecsbatch.store": ("open_store", "DatabaseStore", "MemoryDatabase"),
    "ecsbatch.config.settings": ("Programs",),
    "ecsbatch.ecs.auth.schemes": ("UnsignedRequest",),
    "ecsbatch.ecs.sender": ("Request", "Answer"),
    "ecsbatch.model.conflicts": (),
    "ecsbatch.model.events": (),
    "ecsbatch.model.freeze": ("Freeze",),
    "ecsbatch.model.outcome": ("SkipReason", "Evidence"),
    "ecsbatch.model.plan": ("Wave", "Skip"),
    "ecsbatch.model.quota": ("Usage",),
    "ecsbatch.model.recorded": (),
    "ecsbatch.model.run": ("Holder",),
    "ecsbatch.model.servers": ("Fleet", "ServerView", "Site"),
    "ecsbatch.model.spending": ("GroupSpending", "RunSpending", "Waiting"),
    "ecsbatch.model.state": ("RolloutState",),
    "ecsbatch.model.tally": ("Tally",),
    "ecsbatch.policy.counts": ("Counts",),
    "ecsbatch.policy.decide": ("Limits",),
    "ecsbatch.policy.explanation": ("Cause",),
    "ecsbatch.policy.pace": ("Pace",),
    "ecsbatch.policy.progress": ("FailedServer",),
    "ecsbatch.policy.resume_options": ("ResumeOption",),
    "ecsbatch.policy.standing": ("Phase", "Standing"),
    "ecsbatch.views.exposition": ("MetricsCollector", "registry_of", "written"),
    "ecsbatch.views.measured": ("measure", "Sample"),
    "ecsbatch.views.metrics": ("Metrics",),
    "ecsbatch.views.traces": ("Traces",),
    "ecsbatch.rollout.gates": ("Gate", "GateVerdict", "gate_summary"),
    "ecsbatch.rollout.history": ("History",),
    "ecsbatch.rollout.standby": ("StandbyNews",),
    "ecsbatch.rollout.steering": ("Steering",),
    "ecsbatch.rollout.store_switch": ("StoreSwitch",),
}
"""The names on each page; (): all public classes and functions that the module defines."""

GUIDES: Final = frozenset(
    {"ecsbatch", "ecsbatch.errors", "ecsbatch.testing", "ecsbatch.model.conflicts", "ecsbatch.model.events"}
    | {"ecsbatch.rollout.gates", "ecsbatch.rollout.history", "ecsbatch.rollout.steering"}
    | {"ecsbatch.views.metrics", "ecsbatch.views.traces"}
)
"""Pages whose module has a docstring for users; the others' are for who changes them."""

ENGINES: Final[Mapping[str, frozenset[str]]] = {
    "DatabaseStore": frozenset({*vars(Store), *vars(Ledger)} - {"aclose", "waiting", "waits_for", "keeper"})
    | {"__init__", "sever", "claims_amiss", "check_chain", "start_cold"},
    "EcsClient": frozenset(name for name in vars(Cloud) if name[0] != "_") - {"site", "api_rate", "request_timeout"}
    | {"fallback_store"},
    "EcsbatchError": frozenset({"about", "settings"}),
    "Fleet": frozenset({"key_order", "targets_hash", "order_hash", "find"}),
    "KeyAuth": frozenset({"same_as"}),
    "MemoryDatabase": frozenset({"locks", "exposure"}),
    "Plan": frozenset({"base", "domain_bases", "held", "held_by_domain", "wave_of", "skip_of"}),
    "Restarter": frozenset({"pipelines", "standby_worker"}),
    "ResumeOption": frozenset({"flags", "question"}),
    "Rollout": frozenset({"__init__", "engine_stopped", "note_sight", "note_freeze", "follow_commands", "command"}),
    "RolloutState": frozenset({"__init__", "apply", "kept_outcome"}),
    "SimulatedCloud": frozenset({"__init__", "stamp", "wall", "schedule", "advance", "receive", "perform", "latency"}),
    "Steering": frozenset({"__init__"}),
}
"""Members that the engine calls and a user does not; they are on no page."""

_SECTION: Final = re.compile(r"[A-Z][A-Za-z ]+:")
_NAMED: Final = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_TREE: Final = re.compile(r"^ *\+-- ", re.MULTILINE)
_RAISES: Final = re.compile(r"^(?:The future r|R)aises:\n(?:    .*\n?|\n)+", re.MULTILINE)
_RAISED: Final = re.compile(r"^    [A-Z]\w+(?:, [A-Z]\w+)*(?=:)", re.MULTILINE)
_CHAPTER: Final = re.compile(r"^## The library\n(.+?)^## ", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"\[([^]]+)\]\((?!https?:)([^)]*)\)")


class Docstring(NamedTuple):
    """A docstring of the reference: of a page, a name on it or a member of that ("" for the page itself)."""

    page: str
    name: str
    text: str


# -- what is on the pages ----------------------------------------------------------------------------------------------


def names_on(page: str) -> Sequence[str]:
    """Return the names on a page."""
    module = import_module(page)
    return PAGES[page] or [
        name
        for name, value in vars(module).items()
        if name[0] != "_" and inspect.isroutine(value) | inspect.isclass(value) and value.__module__ == page
    ]


def guide(page: str) -> str:
    """Return what a page begins with; a module of which it shows a part has only its first paragraph there."""
    text = inspect.getdoc(import_module(page)) or ""
    return text if page in GUIDES else text.partition("\n\n")[0]


def docstrings() -> Iterator[Docstring]:
    """Yield every docstring of the reference."""
    for page in PAGES:
        module = import_module(page)
        yield Docstring(page, "", guide(page))
        for name in names_on(page):
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isroutine(value):
                yield Docstring(page, name, inspect.getdoc(value) or "")
            for member in members(value) if inspect.isclass(value) else ():
                text = inspect.getdoc(vars(value)[member])
                yield Docstring(page, f"{name}.{member}", text or "")


def members(cls: type[Any]) -> Iterator[str]:
    """Yield the members of a class itself that its users call or read."""
    for name, value in vars(cls).items():
        documented = inspect.isroutine(value) or isinstance(value, property)
        if documented and (name[0] != "_" or name == "__init__") and name not in ENGINES.get(cls.__name__, ()):
            yield name


def attributes(cls: type[Any]) -> set[str]:
    """Return the names that the docstrings of a class and its bases list as attributes."""
    listed = set[str]()
    for base in cls.__mro__[:-1]:
        _, _, section = inspect.cleandoc(base.__doc__ or "").partition("\nAttributes:\n")
        for names in re.findall(r"^    (\w+(?:, \w+)*): ", section, re.MULTILINE):
            listed.update(names.split(", "))
    return listed


# -- where a name is ---------------------------------------------------------------------------------------------------


def anchor(named: str, at: Docstring) -> tuple[str, str] | None:
    """Return the page and the anchor of what is named in a docstring, None where it is on no page."""
    wanted = named.removesuffix("()")
    if wanted in PAGES:
        return wanted, ""
    if wanted.startswith("ecsbatch."):
        page, _, name = wanted.rpartition(".")
        return _on(page, name) if page in PAGES else None
    owner = at.name.partition(".")[0]
    places = [(at.page, f"{owner}.{wanted}")] if owner else []
    places += [(page, wanted) for page in dict.fromkeys([at.page, *PAGES])]
    return next((found for page, name in places if (found := _on(page, name))), None)


def _on(page: str, name: str) -> tuple[str, str] | None:
    """Return where a page has a name, or a name's member; an attribute is told of at its class."""
    first, _, member = name.partition(".")
    if first not in names_on(page):
        return None
    value = getattr(import_module(page), first)
    if not member:
        return page, first
    if not inspect.isclass(value):
        return None
    if member in attributes(value):
        return page, first
    owner = next((base for base in value.__mro__ if member in vars(base)), None)
    if owner is None or member in ENGINES.get(owner.__name__, ()) or member[0] == "_":
        return None
    return (page, name) if owner is value else _on(owner.__module__, f"{owner.__name__}.{member}")


def with_errors_named(text: str) -> str:
    """Return a docstring in which what it raises stands in backticks, too."""

    def named(raised: re.Match[str]) -> str:
        return re.sub(r"\w+", r"`\g<0>`", raised[0])

    return _RAISES.sub(lambda section: _RAISED.sub(named, section[0]), text)


def unknown_names() -> list[str]:
    """Return each name in single backticks, and each error, that is on no page, and where it is used."""
    return [
        f"{at.page}.{at.name}: `{named}`"
        for at in docstrings()
        for named in _NAMED.findall(with_errors_named(at.text))
        if not (hasattr(builtins, named) or hasattr(asyncio, named)) and anchor(named, at) is None
    ]


# -- examples ----------------------------------------------------------------------------------------------------------


def split(text: str) -> Iterator[tuple[bool, str]]:
    """Yield a docstring's lines in parts, each with whether it is an indented block outside of any section."""
    part: list[str] = []
    in_section = in_block = False
    after_blank = True
    for line in text.splitlines():
        indented = line.startswith("    ")
        begins = indented and after_blank and not in_section
        if (begins and not in_block) or (in_block and line and not indented):
            yield in_block, "\n".join(part).rstrip("\n")
            part, in_block = [], begins
        if line and not indented:
            in_section = bool(_SECTION.fullmatch(line))
        part.append(line)
        after_blank = not line
    yield in_block, "\n".join(part).rstrip("\n")


def examples() -> Iterator[tuple[Docstring, str]]:
    """Yield each example that is Python, and where it stands."""
    for at in docstrings():
        for is_block, part in split(at.text):
            if is_block and not _TREE.search(part):
                yield at, dedent(part)


# -- the pages ---------------------------------------------------------------------------------------------------------


def as_markdown(at: Docstring) -> str:
    """Return a docstring with its examples fenced, and links to the names of other pages."""
    return "\n\n".join(_fenced(part) if is_block else _linked(part, at) for is_block, part in split(at.text) if part)


def _fenced(block: str) -> str:
    return f"```{'' if _TREE.search(block) else 'python'}\n{dedent(block)}\n```"


def _linked(text: str, at: Docstring) -> str:
    from pdoc.render_helpers import relative_link  # noqa: PLC0415 - of those who build it alone

    def link(named: re.Match[str]) -> str:
        found = anchor(named[1], at)
        # Whole paths and what has a place of its own on this page are linked by pdoc itself.
        if found is None or named[1].startswith("ecsbatch") or (found[0] == at.page and found[1].endswith(named[1])):
            return named[0]
        return f"[{named[0]}]({relative_link(at.page, found[0])}#{found[1]})"

    return _NAMED.sub(link, re.sub(r"::$", ":", with_errors_named(text), flags=re.MULTILINE))


def library_chapter() -> str:
    """Return the README's chapter on the library; its links lead to what is not here, and become words."""
    [chapter] = _CHAPTER.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    text = re.sub(r"^<!-- .* -->\n", "", chapter, flags=re.MULTILINE)
    return _LINK.sub(lambda to: to[1] if to[2].startswith("#") else f"{to[1]} (`{to[2]}`)", text)


def contents() -> str:
    """Return a list of all pages but the first, with the names on each."""
    from pdoc.render_helpers import relative_link  # noqa: PLC0415 - of those who build it alone

    lines = [f"- [`{page}`]({relative_link('ecsbatch', page)}): {', '.join(names_on(page))}" for page in PAGES]
    return "\n".join(lines[1:])


def prepare(page: Module) -> Iterator[str]:
    """Give a page its texts, and hide what is not for its readers; yield its members without a sentence."""
    page.docstring = as_markdown(Docstring(page.modulename, "", guide(page.modulename)))
    if page.modulename == "ecsbatch":
        page.docstring += f"\n\n## All pages\n{contents()}\n\n## From the README\n{library_chapter()}"
    for doc in page.own_members:
        yield from _prepare(doc, page.modulename)
        if doc.kind == "class":
            shown: Class = doc  # type: ignore[assignment]
            shown.decorators = [each for each in shown.decorators if each.startswith("@dataclass")]
            inherited = chain.from_iterable(shown.inherited_members.values())
            for member in [*shown.own_members, *inherited]:
                if _is_hidden(member, shown.obj):
                    member.docstring = "@private"
            for member in shown.own_members:
                if member.docstring or not _is_told(member.name, shown.obj):
                    yield from _prepare(member, page.modulename)


def _prepare(doc: Doc[Any], page: str) -> Iterator[str]:
    if doc.docstring == "@private":
        return
    home = import_module("ecsbatch")._HOME.get(doc.name) if page == "ecsbatch" and doc.kind == "variable" else None
    text = doc_of(f"ecsbatch.{home}", doc.name) if home else doc.docstring
    doc.docstring = as_markdown(Docstring(page, doc.qualname, text))
    if not doc.docstring and doc.name[0] != "_":
        yield f"{page}.{doc.qualname}: it has no sentence"


def doc_of(module: str, constant: str) -> str:
    """Return what a module says of a constant, in the text behind it."""
    import pdoc.doc  # noqa: PLC0415 - of those who build it alone

    return pdoc.doc.Module(import_module(module)).members[constant].docstring


def fields_of(cls: type[Any]) -> Sequence[Field[Any]]:
    """Return the fields of a class, none where it is no dataclass."""
    return fields(cls) if is_dataclass(cls) else ()


def _is_told(name: str, owner: type[Any]) -> bool:
    """Tell whether a variable of a class is told of in the class's docstring, or is a base's."""
    return name in attributes(owner) or any(name in vars(base) for base in owner.__mro__[1:])


def _is_hidden(doc: Doc[Any], owner: type[Any]) -> bool:
    """Tell whether a member is the engine's, is told of at its class and has nothing to add, or says nothing."""
    value = vars(owner).get(doc.name)
    constant = isinstance(value, str) and doc.name not in {field.name for field in fields_of(owner)}
    told = doc.kind == "variable" and not doc.docstring and _is_told(doc.name, owner) and not constant
    empty = doc.name == "__init__" and (getattr(owner, "_is_protocol", False) or issubclass(owner, Enum))
    engines = any(doc.name in ENGINES.get(base.__name__, ()) for base in owner.__mro__)
    return told or empty or engines


def build(folder: Path) -> list[str]:
    """Write the reference; return what is wrong with it."""
    import pdoc.doc  # noqa: PLC0415 - of those who build it alone
    import pdoc.render  # noqa: PLC0415

    for page in PAGES:
        vars(import_module(page))["__all__"] = list(names_on(page))
    pdoc.docstrings.GOOGLE_LIST_SECTIONS.append("The future raises")
    pdoc.render.configure(docformat="google", show_source=False)
    pages = {name: pdoc.doc.Module(import_module(name)) for name in PAGES}
    wrong = unknown_names()
    for page in pages.values():
        wrong += prepare(page)
    written = {
        f"{name.replace('.', '/')}.html": _widened(pdoc.render.html_module(pages[name], pages)) for name in pages
    }
    written["index.html"] = pdoc.render.html_index(pages)
    written["search.js"] = pdoc.render.search_index(pages)
    for name, text in written.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return wrong + list(dead_links(written))


def _widened(page: str) -> str:
    """Return a page on which a line of our code fits."""
    return page.replace("</head>", "<style>main.pdoc { width: calc(68rem + var(--sidebar-width)); }</style></head>")


def dead_links(written: Mapping[str, str]) -> Iterator[str]:
    """Yield each link of a page to a page or a place that there is not."""
    places = {name: {f"#{each}" for each in re.findall(r' id="([^"]+)"', text)} for name, text in written.items()}
    for name, text in written.items():
        for link in dict.fromkeys(re.findall(r'href="([^"]*)"', text) if name.endswith(".html") else ()):
            path, mark, place = link.partition("#")
            if path.startswith("$"):
                continue  # of the search, which fills it in
            target = Path("/", name).parent.joinpath(path).resolve().relative_to("/").as_posix() if path else name
            if ":" not in path and (target not in written or mark + place not in {"", "#", *places[target]}):
                yield f"{name}: the link {link} leads nowhere"


def main(arguments: Iterable[str]) -> int:
    """Build the reference, with every warning an error; return the exit code."""
    warnings.simplefilter("error")
    folder = Path(*arguments or ("build/reference",))
    wrong = build(folder)
    sys.stdout.write(
        "\n".join([*wrong, f"{folder / 'index.html'}: {len(PAGES)} pages, {counted(len(wrong), 'fault')}\n"])
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
