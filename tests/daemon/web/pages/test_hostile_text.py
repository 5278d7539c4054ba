"""Text of others stays text on every page, whatever it holds and in whichever field it stands."""

import unicodedata
from typing import Any, Final

import msgspec
import pytest
from msgspec import inspect

from daemon.web import views
from daemon.web.pages.renderer import LONGEST, PageRenderer
from tests.daemon.web.pages import examples
from tests.daemon.web.pages.reading_html import Outline

HOSTILE: Final = {
    "element": "<script>alert(1)</script><img src=x onerror=alert(2)>",
    "attribute": "\"'><b onmouseover='x' style=\"a\" autofocus ",
    "template": "{{ view.__class__ }}{% raw %}</title></select></textarea><!-- ]]>",
    "address": "javascript:alert(1)//\\evil.example/?a&b#c",
    "entity": "&lt;script&gt;&#60;b&#62;\r\n\tx",
    "direction": "abc\u202egnp.exe\u2066\u200b\u061c\ufeff\u2028",
    "halves": "\ud800\udfff\x00\x1b[31m\x7f\x9b",
    "length": "W" * 10_000,
}
RENDERER: Final = PageRenderer()
PAGES: Final = {
    "overview": views.Overview,
    "slot": views.SlotView,
    "version": views.VersionView,
    "feed": views.FeedView,
    "journal": views.JournalView,
    "sign-in": views.SignIn,
    "error": views.Problem,
}


LEAVES: Final = {
    inspect.BoolType: True,
    inspect.IntType: 1_754_049_785_000,
    inspect.FloatType: 0.5,
    inspect.NoneType: None,
}


def filled(kind: inspect.Type, text: str) -> Any:
    """Return a value of a type with this text in every field, however deep."""
    match kind:
        case inspect.StructType():
            return kind.cls(**{field.name: filled(field.type, text) for field in kind.fields})
        case inspect.StrType():
            return text
        case inspect.VarTupleType():
            return (filled(kind.item_type, text),) * 2
        case inspect.TupleType():
            return tuple(filled(item, text) for item in kind.item_types)
        case inspect.DictType():
            return {text: filled(kind.value_type, text)}
        case inspect.AnyType():
            return {text: [text, {text: text}]}
        case inspect.UnionType():
            return next(filter(None, (filled(one, text) for one in kind.types)))
        case inspect.LiteralType():
            return kind.values[0]
    return LEAVES[type(kind)]


def page_of(name: str, text: str, view: msgspec.Struct) -> str:
    keys = ("q", "sort", "order", "urgency", "slot", "kind", "since_ms", "before")
    return RENDERER.render(
        name,
        view,
        signed_in=True,
        csrf="c",
        now_ms=examples.NOW_MS,
        notice=text,
        query=dict.fromkeys(keys, text),
    )


def many(view: Any) -> Any:
    """Return a view with so many slots that the page is a table."""
    if isinstance(view, views.Overview | views.FeedView):
        return msgspec.structs.replace(view, slots=view.slots[:1] * 13)
    return view


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("name", PAGES)
def test_no_element_and_no_attribute_comes_from_a_text(name: str, hostile: str) -> None:
    text = HOSTILE[hostile]
    kind = inspect.type_info(PAGES[name])
    for is_many in (False, True):
        made = ((one, filled(kind, one)) for one in (text, "calm"))
        bad, calm = (Outline(page_of(name, t, many(v) if is_many else v)) for t, v in made)
        assert bad.shape == calm.shape
        assert bad.unclosed == calm.unclosed == []
        addresses = [*bad.values("href"), *bad.values("action"), *bad.values("src")]
        assert all(one.startswith(("/", "#main")) for one in addresses)
        assert not any(one.startswith(("//", "/\\")) for one in addresses)


@pytest.mark.parametrize("name", PAGES)
def test_a_hostile_text_is_shown_as_it_is(name: str) -> None:
    text = HOSTILE["element"]
    page = Outline(page_of(name, "", filled(inspect.type_info(PAGES[name]), text)))
    assert text in page.text


@pytest.mark.parametrize("name", PAGES)
def test_hidden_characters_are_shown_and_a_long_text_ends(name: str) -> None:
    for text in HOSTILE.values():
        page = page_of(name, text, filled(inspect.type_info(PAGES[name]), text))
        hidden = {c for c in page if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"}}
        assert hidden <= {"\n", "\t"}
        assert "W" * (LONGEST + 1) not in page
        page.encode()


@pytest.mark.parametrize("name", ["overview", "slot", "feed", "journal"])
def test_what_is_pushed_is_as_safe_as_the_page(name: str) -> None:
    kind = inspect.type_info(PAGES[name])
    text = "".join(HOSTILE.values())
    bad, calm = (
        Outline(RENDERER.fragment(name, filled(kind, one), now_ms=examples.NOW_MS))
        for one in (text, "calm")
    )
    assert bad.shape == calm.shape


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e300, 0.0])
@pytest.mark.parametrize("name", PAGES)
def test_impossible_figures_break_no_page(name: str, value: float) -> None:
    def spoiled(found: Any) -> Any:
        if isinstance(found, msgspec.Struct):
            fields = {one: spoiled(getattr(found, one)) for one in found.__struct_fields__}
            return type(found)(**fields)
        if isinstance(found, tuple):
            return tuple(map(spoiled, found))
        if isinstance(found, int) and not isinstance(found, bool):
            return -(2**53) if value else 0
        return value if isinstance(found, float) else found

    view = spoiled(examples.all_views()[name])
    assert Outline(page_of(name, "", view)).unclosed == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_where_nothing_is_known_yet(name: str) -> None:
    def emptied(found: Any) -> Any:
        if not isinstance(found, msgspec.Struct):
            return type(found)() if isinstance(found, tuple | dict | str) else found
        kinds = {field.encode_name: field.type for field in fields_of(type(found))}
        return type(found)(
            **{
                one: None if is_optional(kind) else emptied(getattr(found, one))
                for one, kind in kinds.items()
            }
        )

    def fields_of(cls: type[msgspec.Struct]) -> tuple[inspect.Field, ...]:
        kind = inspect.type_info(cls)
        assert isinstance(kind, inspect.StructType)
        return kind.fields

    def is_optional(kind: inspect.Type) -> bool:
        return isinstance(kind, inspect.UnionType) and kind.includes_none

    page = page_of(name, "", emptied(examples.all_views()[name]))
    assert Outline(page).unclosed == []
    assert "None" not in Outline(page).text
