"""The console in a real browser, in front of a stand-in for the shim: what a person sees, and what is sent."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.asking import Asking, asking, question
from tests.browser.devtools import Page, browser
from tests.servers.npm import modules
from tests.support.programs import need
from tests.support.waiting import eventually
from tests.test_docs import ROOT

SHOTS = Path(os.environ.get("AP_TEST_SCREENSHOTS", ROOT / ".venv/screenshots"))
"""The folder of the screenshots, which stay for a person to look at."""
CALL = {"name": "send_email", "args": {"to": "ann@example.org", "id": 12345678901234567890, "price": 5.0}}
ANY_DECISION = {"action_name": "send_email", "allowed_decisions": ["approve", "edit", "reject", "respond"]}
ONE_CALL = {"action_requests": [CALL], "review_configs": [ANY_DECISION]}
TWO_CALLS = {
    "action_requests": [CALL, {"name": "pay", "args": {"nested": {"amount": 5}}}],
    "review_configs": [ANY_DECISION, {"action_name": "pay", "allowed_decisions": ["approve", "edit", "reject"]}],
}
FORM = {
    "type": "object",
    "properties": {
        "decision": {"enum": ["pay", "keep"], "type": "string", "title": "Decision"},
        "amount": {"type": "number", "exclusiveMinimum": 0, "maximum": 1000, "description": "In euros."},
        "pieces": {"type": "integer"},
        "date": {"type": "string", "format": "date"},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        "notify": {"type": "boolean", "title": "Notify the customer"},
        "labels": {"type": "array", "items": {"enum": ["new", "old", "odd"]}},
    },
    "required": ["decision", "amount", "notify"],
}
COLOURS = {"enum": ["red", "blue", "green", "black", "white"], "type": "string"}
NESTED = {"type": "object", "properties": {"to": {"type": "object", "required": ["name"]}}, "required": ["to"]}
EVIL = "<img src=x onerror=window.hacked=1><script>window.hacked=1</script> [a](javascript:window.hacked=1) https://evil.example"


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    with browser() as page:
        yield page


@pytest.fixture
def page(tab: Page) -> Iterator[Page]:
    """A tab of 1,440 pixels. The test fails if a script fails, or the Content-Security-Policy is violated."""
    tab.errors.clear()
    tab.resize(1440, 900)
    yield tab
    assert tab.evaluate("window.hacked") is None
    assert tab.errors == []


def answered(server: Asking) -> Any:
    """The only answer that the server received."""
    eventually(lambda: server.answers, "an answer is sent")
    (answer,) = server.answers
    return answer["input"]


def asked(value: Any, schema: Any = None, **more: Any) -> dict[str, Any]:
    return question("thread-1", value, schema, **more)


# --- each kind


def test_a_text_is_answered_pinned_and_keyed_and_the_run_is_shown(page: Page) -> None:
    with asking(asked("What is your name?")) as (server, url):
        page.open(url)
        page.sees("What is your name?", "#detail h2")
        page.fill("Answer", "Ann")
        page.click("Send answer")
        page.sees("Finished", "#detail")
        page.sees("step", ".events")
        (answer,) = server.answers
        assert answer.pop("key").strip('"') != ""
        assert answer == {
            "thread_id": "thread-1",
            "agent_id": "mailer",
            "interrupt_id": server_id("thread-1"),
            "input": "Ann",
            "stream_mode": ["values", "updates", "messages", "custom"],
            "on_disconnect": "continue",
        }
        assert page.evaluate("document.activeElement.textContent") == "Run Finished"
        page.sees("Answered", "#answered")
        page.sees("No question is pending.", "#list")


def server_id(thread: str) -> str:
    return str(question(thread, "")["interrupt_id"])


@pytest.mark.parametrize(("label", "answer"), [("Yes", True), ("No", False)])
def test_a_confirmation_has_two_buttons(page: Page, label: str, answer: bool) -> None:
    with asking(asked("Really?", {"type": "boolean"})) as (server, url):
        page.open(url)
        page.click(label, "#detail")
        assert answered(server) is answer


def test_a_choice_has_a_button_for_each_option(page: Page) -> None:
    with asking(asked("Which?", COLOURS)) as (server, url):
        page.open(url)
        page.click("green", "#detail")
        assert answered(server) == "green"


def test_several_options_are_ticked(page: Page) -> None:
    schema = {"type": "array", "items": COLOURS}
    with asking(asked("Which ones?", schema)) as (server, url):
        page.open(url)
        page.click("Send answer")
        page.sees("needs at least 1", "#detail")
        for label in ("red", "black"):
            page.click(label, "#detail")
        page.click("Send answer")
        assert answered(server) == ["red", "black"]


def test_a_form_shows_what_is_wrong_and_sends_only_what_fits(page: Page) -> None:
    with asking(asked({"question": "Pay?", "invoice": "7"}, FORM)) as (server, url):
        page.open(url)
        page.sees("invoice", "#detail .context")
        page.click("Send answer")
        page.sees("This is required.", "#detail")
        page.click("pay", "#detail")
        page.fill("amount", "1000.5")
        page.fill("pieces", "1.5")
        page.fill("note", "")
        page.click("Yes", "#detail")
        page.click("new", "#detail")
        page.click("Send answer")
        page.sees("This has to be at most 1000.", "#detail")
        page.sees("This has to be a whole number.", "#detail")
        assert page.evaluate("document.activeElement.getAttribute('aria-invalid')") == "true"
        assert server.answers == []
        page.fill("amount", "10.50")
        page.fill("pieces", "2")
        page.key("Enter", ctrl=True)
        sent = answered(server)
        assert sent == {"decision": "pay", "amount": 10.5, "pieces": 2, "notify": True, "labels": ["new"]}


def test_a_form_can_be_left_for_json_and_back(page: Page) -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    with asking(asked("Who?", schema)) as (server, url):
        page.open(url)
        page.fill("name", "Ann")
        page.click("Edit as JSON")
        page.fill("Answer as JSON", '{"name": "Bob"}')
        page.click("Edit as a form")
        page.click("Send answer")
        assert answered(server) == {"name": "Bob"}


def test_any_other_answer_is_json_that_checks_itself(page: Page) -> None:
    with asking(asked({"question": "Go on?", "n": 3})) as (server, url):
        page.open(url)
        page.fill("Answer as JSON", "{wrong")
        page.sees("not valid JSON", "#detail")
        page.click("Send answer")
        page.click("Answer with a text instead")
        page.fill("Answer as text", "yes")
        page.click("Answer with JSON instead")
        page.fill("Answer as JSON", '{"id": 12345678901234567890, "ok": 1.0}')
        page.click("Send answer")
        assert json.dumps(answered(server)) == '{"id": 12345678901234567890, "ok": 1.0}', "numbers keep their digits"


def test_json_is_checked_against_a_nested_schema(page: Page) -> None:
    with asking(asked("Where?", NESTED)) as (server, url):
        page.open(url)
        page.fill("to", '{"name" : "Ann"')
        page.click("Send answer")
        page.sees("not valid JSON", "#detail")
        page.fill("to", "{}")
        page.click("Send answer")
        page.sees("name is required", "#detail")
        assert server.answers == []
        page.fill("to", '{"name": "Ann"}')
        page.click("Send answer")
        assert answered(server) == {"to": {"name": "Ann"}}


def test_a_tool_call_is_approved_with_one_click(page: Page) -> None:
    with asking(asked(ONE_CALL)) as (server, url):
        page.open(url)
        page.sees("12345678901234567890", "#detail")
        page.click("Approve", "#detail")
        assert answered(server) == {"decisions": [{"type": "approve"}]}


def test_the_arguments_of_a_tool_call_are_edited_but_not_its_name(page: Page) -> None:
    with asking(asked(ONE_CALL)) as (server, url):
        page.open(url)
        page.click("Edit", "#detail")
        page.fill("to", "bob@example.org")
        page.click("Send the edited call")
        sent = answered(server)
        assert json.dumps(sent["decisions"][0]["edited_action"]) == (
            '{"name": "send_email", "args": {"to": "bob@example.org", "id": 12345678901234567890, "price": 5.0}}'
        )


def test_arguments_that_are_not_edited_stay_as_they_are(page: Page) -> None:
    args = {"to": "ann@example.org", "subject": "", "body": "one\r\ntwo", "copy": "bob@example.org"}
    with asking(asked({**ONE_CALL, "action_requests": [{"name": "send_email", "args": args}]})) as (server, url):
        page.open(url)
        page.click("Edit", "#detail")
        page.fill("to", "eve@example.org")
        page.fill("copy", "")
        page.click("Send the edited call")
        edited = answered(server)["decisions"][0]["edited_action"]
        assert edited["args"] == {**args, "to": "eve@example.org", "copy": ""}


@pytest.mark.parametrize(("reason", "sent"), [("Too dear.", {"message": "Too dear."}), ("", {})])
def test_a_tool_call_is_rejected_with_a_reason_or_without(page: Page, reason: str, sent: dict[str, str]) -> None:
    with asking(asked(ONE_CALL)) as (server, url):
        page.open(url)
        page.click("Reject", "#detail")
        page.fill("Reason", reason)
        page.click("Reject the call")
        assert answered(server) == {"decisions": [{"type": "reject", **sent}]}


def test_several_tool_calls_need_a_decision_each(page: Page) -> None:
    with asking(asked(TWO_CALLS)) as (server, url):
        page.open(url)
        page.click("Approve", ".action:nth-of-type(1)")
        page.click("Send 2 decisions")
        page.sees("Decide about each of the 2 calls.", "#detail")
        page.click("Edit", ".action:nth-of-type(2)")
        page.fill("Arguments as JSON", "[]")
        page.click("Send 2 decisions")
        page.sees("has to be an object", "#detail")
        assert server.answers == []
        page.fill("Arguments as JSON", '{"nested": {"amount": 6}}')
        page.click("Send 2 decisions")
        edited = {"type": "edit", "edited_action": {"name": "pay", "args": {"nested": {"amount": 6}}}}
        assert answered(server) == {"decisions": [{"type": "approve"}, edited]}


# --- what must not go wrong


def test_a_double_click_answers_once(page: Page) -> None:
    with asking(asked("Really?", {"type": "boolean"}), question("thread-2", "And?", {"type": "boolean"})) as (
        server,
        url,
    ):
        page.open(url)
        page.sees("Really?", "#detail h2")
        page.click("Yes", "#detail", times=2)
        page.sees("Finished", "#detail")
        assert [answer["thread_id"] for answer in server.answers] == ["thread-1"]


def test_the_same_answer_is_repeated_under_the_same_key_and_another_one_under_another(page: Page) -> None:
    error = {"code": "upstream_error", "message": "The backend failed.", "metadata": {"resume_state": "unknown"}}
    with asking(asked("Who?"), refusal=(502, error)) as (server, url):
        page.open(url)
        for name in ("Ann", "Ann", "Bob"):
            page.fill("Answer", name)
            page.click("Send answer")
            page.wait("document.activeElement.matches('.notice strong')")
            page.sees("The backend failed.", "#detail")
        first, second, third = [answer["key"] for answer in server.answers]
        assert first == second != third


@pytest.mark.parametrize("code", ["interrupt_not_pending", "thread_not_interrupted"])
def test_a_question_that_was_answered_elsewhere_says_so_and_leaves(page: Page, code: str) -> None:
    error = {"code": code, "message": "Nothing is pending: read the thread.", "metadata": {}}
    with asking(asked("Really?", {"type": "boolean"}), refusal=(409, error)) as (server, url):
        page.open(url)
        server.questions.append(question("thread-2", "And this?"))
        page.click("Yes", "#detail")
        page.sees("No longer pending. Nothing is pending: read the thread.", "#detail")
        assert page.evaluate("document.activeElement.textContent").strip() == "No longer pending."
        assert "Really?" not in page.text("#rows")


def test_a_question_that_vanishes_from_the_list_is_checked_and_leaves(page: Page) -> None:
    with asking(asked("Really?"), question("thread-2", "And?")) as (server, url):
        page.open(url)
        page.fill("Answer", "a draft")
        server.questions = [each for each in server.questions if each["thread_id"] == "thread-2"]
        page.click("Refresh")
        page.sees("No longer pending.", "#detail")
        page.click("Next question")
        page.sees("And?", "#detail h2")


def test_a_refresh_leaves_a_draft_and_the_focus_where_they_are(page: Page) -> None:
    with asking(asked("Really?")) as (server, url):
        page.open(url)
        page.fill("Answer", "a draft")
        server.questions.append(question("thread-2", "And?", minutes=5))
        page.evaluate("document.getElementById('refresh').click()")
        page.sees("And?", "#rows")
        assert page.evaluate("document.activeElement.value") == "a draft"


def test_a_refused_answer_shows_its_problems_and_can_be_corrected(page: Page) -> None:
    problems = [{"path": "amount", "problem": "is too much today"}]
    error = {"code": "invalid_answer", "message": "The answer does not fit.", "metadata": {"problems": problems}}
    schema = {"type": "object", "properties": {"amount": {"type": "number"}}, "required": ["amount"]}
    with asking(asked("How much?", schema), refusal=(422, error)) as (server, url):
        page.open(url)
        page.fill("amount", "7")
        page.click("Send answer")
        page.sees("The answer does not fit.", "#detail")
        page.sees("This is too much today.", ".field")
        server.refusal = None
        page.fill("amount", "6")
        page.click("Send answer")
        page.sees("Finished", "#detail")


def test_without_a_connection_the_page_says_so(page: Page) -> None:
    with asking(asked("Really?")) as (_, url):
        page.open(url)
        page.fill("Answer", "yes")
    page.click("Send answer")
    page.sees("No response from the shim.", "#detail")
    page.sees("the agent receives it once", "#detail")
    page.errors.clear()


def test_the_credentials_are_asked_for_sent_and_kept_in_memory_only(page: Page) -> None:
    with asking(asked("Really?"), credentials=("x-token", "Bearer secret")) as (_, url):
        page.open(url)
        page.sees("The backend requires credentials.", "#list")
        page.click("Set credentials", "#list")
        page.fill("Header", "X-Token")
        page.fill("Value", "Bearer secret")
        page.key("Enter")
        page.sees("Really?", "#rows")
        page.click("Really?", "#rows")
        page.fill("Answer", "yes")
        page.click("Send answer")
        page.sees("Finished", "#detail")
        kept = page.evaluate("[localStorage.length, sessionStorage.length, document.cookie, location.href]")
        assert kept == [0, 0, "", url]
        assert "secret" not in page.evaluate("document.documentElement.outerHTML")
        page.open(url)
        page.sees("The backend requires credentials.", "#list")


def test_values_are_shown_as_text(page: Page) -> None:
    call = {"name": EVIL, "args": {EVIL: EVIL, "list": [EVIL]}, "description": EVIL}
    evil = {
        "action_requests": [call],
        "review_configs": [{"action_name": EVIL, "allowed_decisions": ["approve", "edit"]}],
    }
    form = {"type": "object", "title": EVIL, "properties": {EVIL: {"enum": [EVIL, "b"], "description": EVIL}}}
    events = [
        ("updates", {EVIL: {EVIL: EVIL}}),
        ("messages", [{"content": EVIL}, {}]),
        (EVIL, EVIL),
        ("error", {"message": EVIL}),
    ]
    questions = [
        question("t1", evil, agent=EVIL, expires_at=EVIL),
        question("t2", {"question": EVIL, EVIL: EVIL}, form),
        question("t3", EVIL, {"type": "string", "enum": [EVIL, "b"]}),
    ]
    with asking(*questions, events=events, notes=[EVIL]) as (_, url):
        page.open(url)
        page.sees("<img src=x", "#detail h2")
        page.click("Edit", "#detail")
        for row in ("2", "3"):
            page.click("<img", f"#rows > li:nth-child({row})")
            page.sees("<img src=x", "#detail h2")
        page.click("<img", "#detail .choices")
        page.sees("Failed", "#detail")
        assert page.evaluate("document.querySelectorAll('main img, main a, main script, nav a, iframe').length") == 0


def together(*numbers: int) -> list[dict[str, Any]]:
    """Questions of one thread whose answers the server accepts only at once."""
    asked = [
        question("thread-1", f"Question {number}?", {"type": "boolean"}, interrupt_id=f"q{number}", minutes=number)
        for number in numbers
    ]
    body = {"thread_id": "thread-1", "input": {each["interrupt_id"]: each["answer"] for each in asked}}
    return [{**each, "resume": {**each["resume"], "body": body}} for each in asked]


def test_questions_that_are_answered_together_are_sent_when_all_have_an_answer(page: Page) -> None:
    with asking(*together(1, 2)) as (server, url):
        page.open(url)
        page.sees("Question 1?", "#detail h2")
        page.click("Yes", "#detail form")
        page.sees("Not sent yet.", "#detail")
        page.click("No", "#detail form")  # a changed mind
        assert server.answers == []
        page.click("Next question of this thread", "#detail")
        page.sees("Question 2?", "#detail h2")
        page.click("Yes", "#detail form")
        page.sees("Finished", "#detail")
        assert answered(server) == {"q1": False, "q2": True}
        assert "interrupt_id" not in server.answers[0]
        assert page.text("#rows") == ""


def test_an_endless_schema_or_one_with_a_broken_reference_is_drawn_and_checked(page: Page) -> None:
    endless = {"anyOf": [{"$ref": "#"}] * 6}
    broken = {"type": "object", "properties": {"n": {"$ref": "#/$defs/100%"}, "o": {"type": "object"}}}
    with asking(question("t1", "Endless?", endless), question("t2", "Broken?", broken, minutes=1)) as (server, url):
        page.open(url)
        page.fill("Answer", "1")
        page.click("Send answer")
        assert answered(server) == 1
        page.sees("Finished", "#detail")  # the answer moves the rows
        page.click("Broken?", "#rows")
        page.sees("Broken?", "#detail h2")
        page.wait("document.querySelector('#detail textarea') !== null")


def test_forgotten_credentials_take_everything_with_them_that_they_showed(page: Page) -> None:
    with asking(asked("The secret plan?"), credentials=("x-token", "secret")) as (_, url):
        page.open(url)
        page.click("Set credentials", "#list")
        page.fill("Header", "X-Token")
        page.fill("Value", "secret")
        page.key("Enter")
        page.click("The secret plan?", "#rows")
        page.sees("The secret plan?", "#detail h2")
        page.click("Credentials set", ".bar")
        page.click("Forget", "dialog")
        page.sees("The backend requires credentials.", "#list")
        assert "secret plan" not in page.evaluate("document.documentElement.outerHTML")


@pytest.mark.parametrize(("name", "value"), [("Cookie", "a=b"), ("X Token", "a"), ("X-Token", "käse\u20ac")])
def test_a_header_that_a_page_cannot_send_is_refused(page: Page, name: str, value: str) -> None:
    with asking(asked("Really?")) as (_, url):
        page.open(url)
        page.click("Credentials", ".bar")
        page.fill("Header", name)
        page.fill("Value", value)
        page.click("Use", "dialog")
        page.sees("A page cannot send this header.", "dialog")


def test_marks_that_reorder_a_text_are_visible_and_stay_in_the_answer(page: Page) -> None:
    name = "invoice\u202efdp.exe"
    call = {**ONE_CALL, "action_requests": [{"name": "open", "args": {"file": name}}]}
    call["review_configs"] = [{"action_name": "open", "allowed_decisions": ["approve", "edit"]}]
    with asking(asked(call)) as (server, url):
        page.open(url)
        page.sees("invoice[U+202E]fdp.exe", "#detail")
        page.click("Edit", "#detail form")
        page.click("Send the edited call", "#detail form")
        assert answered(server)["decisions"][0]["edited_action"]["args"] == {"file": name}


def test_a_very_long_question_leaves_its_controls_in_sight(page: Page) -> None:
    text = "word " * 100_000
    with asking(asked(text, {"type": "boolean"})) as (server, url):
        page.open(url)
        page.wait("document.querySelector('#detail .buttons').getBoundingClientRect().top < innerHeight * 1.5")
        assert page.evaluate("document.querySelector('#detail .context').textContent.length") == len(text)
        page.click("Yes", "#detail form")
        assert answered(server) is True


# --- the list


def test_the_list_is_loaded_in_pages_and_filtered_by_agent(page: Page) -> None:
    many = [
        question(f"thread-{number}", f"Question {number}?", agent="ab"[number % 2], minutes=number)
        for number in range(50)
    ]
    with asking(*many) as (server, url):
        page.open(url)
        page.sees("20+", "#count")
        page.click("Load more")
        page.sees("40+", "#count")
        page.click("Load more")
        page.sees("50", "#count")
        rows = page.evaluate("[...document.querySelectorAll('#rows .row-title')].map((row) => row.textContent)")
        assert rows == [f"Question {number}?" for number in range(50)]
        page.fill("Agent", "a")
        page.key("Enter")
        page.sees("20+", "#count")
        assert server.lists[-1] == {"limit": "20", "agent": "a"}


def test_questions_are_shown_oldest_first_whatever_the_backend_lists_first(page: Page) -> None:
    newest_first = [question(f"thread-{minute}", f"Asked at {minute}?", minutes=minute) for minute in (9, 5, 1)]
    with asking(*newest_first) as (_, url):
        page.open(url)
        page.sees("Asked at 9?", "#rows")
        assert page.evaluate("[...document.querySelectorAll('.row-title')].map((row) => row.textContent)") == [
            f"Asked at {minute}?" for minute in (1, 5, 9)
        ]


def test_pages_without_a_question_are_passed_over(page: Page) -> None:
    with asking(asked("Really?"), empty_pages=3) as (_, url):
        page.open(url)
        page.sees("Really?", "#rows")


def test_a_backend_that_lists_nothing_is_asked_for_one_thread(page: Page) -> None:
    note = "This backend cannot list the threads that wait."
    with asking(asked("Really?"), notes=[note], listed=False) as (server, url):
        hidden, server.questions = server.questions, []
        page.open(url)
        page.sees(note, "#list")
        page.sees("Enter a thread to see its questions.", "#list")
        server.questions = hidden
        page.fill("Thread", "thread-1")
        page.key("Enter")
        page.click("Really?", "#rows")
        page.sees("Really?", "#detail h2")


def test_a_link_opens_one_thread(page: Page) -> None:
    with asking(asked("Really?"), question("thread-2", "And?")) as (_, url):
        page.open(f"{url}#thread=thread-2")
        page.sees("And?", "#detail h2")
        assert "Really?" not in page.text("#rows")


def test_after_an_answer_the_next_question_of_the_thread_is_offered(page: Page) -> None:
    events = [("updates", {"__interrupt__": [{"value": "Sure?"}]})]
    with asking(asked("First?"), events=events) as (server, url):
        page.open(url)
        page.fill("Answer", "yes")
        server.following = [question("thread-1", "Sure?", interrupt_id="another")]
        page.click("Send answer")
        page.sees("Asks again", "#detail")
        page.click("Answer", ".follow")
        page.sees("Sure?", "#detail h2")


# --- for everybody


def test_a_question_is_answered_by_keyboard_alone(page: Page) -> None:
    with asking(asked("First?"), question("thread-2", "Second?", {"type": "boolean"}, minutes=1)) as (server, url):
        page.open(url)
        page.sees("First?", "#rows")
        page.evaluate("document.querySelector('#rows .row').focus()")
        page.key("ArrowDown")
        page.key("Enter")
        page.sees("Second?", "#detail h2")
        page.wait("!document.querySelector('#detail form').inert")
        page.key("Tab")
        page.key("Enter")
        assert answered(server) is True
        page.sees("The run has finished.", "#live")


def test_on_a_phone_the_list_and_the_question_take_turns(page: Page) -> None:
    page.resize(390, 844)
    with asking(asked("Really?"), question("thread-2", "And?")) as (_, url):
        page.open(url)
        page.click("And?", "#rows")
        page.wait("!document.getElementById('list').checkVisibility()")
        page.click("All questions")
        page.wait("document.getElementById('list').checkVisibility()")
        assert "And?" in page.evaluate("document.activeElement.textContent")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_axe_finds_no_violation_and_nothing_is_wider_than_the_window(page: Page, width: int, dark: bool) -> None:
    """The screenshots stay, for a person to look at."""
    need("npm", required="AP_TEST_NODE")
    axe = (modules(Path(__file__).parent / "axe") / "axe-core/axe.min.js").read_text("utf-8")
    views = {
        "tool": (ONE_CALL, None),
        "tools": (TWO_CALLS, None),
        "form": ({"question": "Pay the invoice of Example Ltd.?", "invoice": "2026-1187"}, FORM),
        "confirm": ("Really delete the branch “search”?", {"type": "boolean"}),
        "choice": ("Which colour?", COLOURS),
        "any": ({"question": "Go on?", "plan": ["search", "read", "write" * 60]}, None),
        "text": ("What is the name of the customer?", None),
    }
    questions = [question(name, *view, minutes=minutes) for minutes, (name, view) in enumerate(views.items())]
    scheme = "dark" if dark else "light"

    def examine(name: str) -> None:
        page.screenshot(SHOTS / f"{name}-{width}-{scheme}.png")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        found = page.evaluate(
            "axe.run().then(({ violations }) => violations.map((each) => [each.id, each.nodes[0].html]))"
        )
        assert found == [], name

    page.resize(width, 844 if width == 390 else 900, dark=dark)
    with asking(*questions, notes=["The backend does not separate its users."]) as (_, url):
        page.open(url)
        page.command("Page.setBypassCSP", enabled=False)
        page.evaluate(f"{axe}; true")
        page.sees("Really delete", "#rows")
        examine("list")
        for number, name in enumerate(views, 1):
            page.evaluate(f"document.querySelectorAll('#rows .row')[{number - 1}].click()")
            examine(name)
            if name in ("tool", "form"):
                page.click({"tool": "Edit", "form": "Send answer"}[name], "#detail")
                examine(f"{name}-open")
        page.fill("Answer", "Example Ltd.")
        page.click("Send answer")
        page.sees("Next question", "#detail")
        examine("run")
        page.evaluate("document.getElementById('credentials-open').click()")
        examine("credentials")
    page.evaluate("axe.reset(); true")


def test_templates_are_filled_as_the_shim_fills_them(page: Page) -> None:
    cases = json.loads((ROOT / "tests/core/questions/fill.json").read_text("utf-8"))
    with asking() as (_, url):
        page.open(url)
        filled = page.evaluate(
            f"""import("/-/console/api.js").then(({{ fill }}) => {json.dumps(cases)}.map(({{ template, choice }}) => {{
              try {{ return fill(template, choice); }} catch {{ return "missing"; }}
            }}))"""
        )
    assert filled == [case["filled"] for case in cases]


def test_every_recorded_shape_is_drawn(page: Page) -> None:
    shapes = json.loads((ROOT / "tests/core/questions/shapes.json").read_text("utf-8"))
    questions = [
        question(str(number), shape["asked"]["value"], shape["asked"].get("response_schema"))
        for number, shape in enumerate(shapes)
        if "value" in shape["asked"]
    ]
    with asking(*questions, page_size=1000) as (_, url):
        page.open(url)
        page.wait(f"document.querySelectorAll('#rows .row').length === {len(questions)}")
        for number in range(len(questions)):
            page.evaluate(f"document.querySelectorAll('#rows .row')[{number}].click()")
            assert page.evaluate("document.querySelectorAll('#detail fieldset button').length") > 0, questions[number]
