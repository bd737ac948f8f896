"""Questions as a person sees them: their kind, the choices, and the answer in the backend's own form.

`describe` recognises the shape of an `Interrupt`, and `fill` writes a person's choice into a template of the answer.
Both are pure, and never guess: a question of an unknown shape has the kind `any`, and its answer is the person's JSON.
"""

from ap_resume_shim.core.questions.describe import describe
from ap_resume_shim.core.questions.model import Action, Kind, Option, Question
from ap_resume_shim.core.questions.template import fill

__all__ = ["Action", "Kind", "Option", "Question", "describe", "fill"]
