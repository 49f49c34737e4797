"""The cells after the solver's files, one at each mark; what they use comes from the first."""

# ruff: noqa: F821, E402
# mypy: disable-error-code="name-defined"

# %% session: The run's settings
from solver.data.submissions import Form
from solver.notebook.session import Session, begin, check, install_wheels, run, summary

session = Session(
    competition=COMPETITION,
    profile=PROFILE,
    engines=ENGINES,
    budget=BUDGET,
    short_budget=SHORT_BUDGET,
    seed=SEED,
    wheels=WHEELS,
    model=MODEL,
    digest=DIGEST,
    started=STARTED,
    id=ID,
    challenges=CHALLENGES,
    form=Form(SUBMISSION, ATTEMPTS),
)
begin(session)  # run.json, beside the submission: what ran on what

# %% wheels: Install what the image lacks
install_wheels(session)

# %% preflight: Preflight
# Does everything work here? What does not is left out of the run, and said.
check(session)

# %% run: Run
# A process of its own, until the budget ends. Whatever becomes of it, submission.json stays whole.
run(session)

# %% summary: What stands in submission.json
from IPython.display import SVG, display

for picture in summary(session):
    display(SVG(picture))
