"""All questions by their names, which begin with the id of the hard case: "H5 maximum and minimum tie"."""

from hard_cases.asking import Question
from hard_cases.questions import elementwise, engine, kinks, losses, training, windows

QUESTIONS: dict[str, Question] = {
    **kinks.QUESTIONS,
    **elementwise.QUESTIONS,
    **windows.QUESTIONS,
    **losses.QUESTIONS,
    **training.QUESTIONS,
    **engine.QUESTIONS,
}
