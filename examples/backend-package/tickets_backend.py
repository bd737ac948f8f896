"""A dialect: the server's requests and responses as pure functions, which the shim calls for each resume."""

from ap_resume_shim import ResumeError, dialects


class Tickets(dialects.Dialect[None]):
    """A ticket asks one question, and is done after the answer."""

    name = "tickets"
    thread_is = "The number of a ticket."
    fingerprints = (dialects.Fingerprint(openapi=frozenset({"/tickets/{}/answers"})),)
    response_kinds = dict.fromkeys(dialects.Mode, "run")

    def inspect_thread(self, resume: dialects.Resume, *, full: bool = True) -> dialects.Lookup[None]:
        (response,) = yield from dialects.Ask((self.run(resume),))
        ticket = dialects.read_lookup(response)
        questions = (dialects.Interrupt(None, ticket["question"]),) if ticket["state"] == "asking" else ()
        return dialects.Found("interrupted" if questions else "idle", questions, run_id=resume.thread_id, values=ticket)

    def resume(self, resume: dialects.Resume, found: object, verdict: dialects.Decision) -> dialects.Request:
        assert isinstance(verdict, dialects.Answers)  # a ticket never stops without a question
        (answer,) = verdict.values
        return dialects.Request.post(f"/tickets/{dialects.segment(resume.thread_id)}/answers", {"answer": answer})

    def refusal(self, response: dialects.Response) -> ResumeError:
        return dialects.read_refusal(response)

    def started(self, response: object, body: object, resume: dialects.Resume, found: object) -> dialects.Started[None]:
        return dialects.Started(resume.thread_id)

    def run(self, resume: dialects.Resume, started: object = None) -> dialects.Request:
        return dialects.Request.get(f"/tickets/{dialects.segment(resume.thread_id)}")

    def has_ended(self, response: dialects.Response) -> bool:
        return bool(response.json["state"] == "done")
