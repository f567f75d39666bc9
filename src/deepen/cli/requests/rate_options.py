"""Options of the learning rate."""

from deepen.cli.requests.command import Option
from deepen.cli.requests.value_types import number, one_of
from deepen.schedule.rate import RATES

LR_OPTION = Option(
    name="lr",
    takes=number("RATE"),
    help="peak learning rate",
    default_help="what models of the size take",
    fields=("peak",),
)
RATE_OPTION = Option(name="rate", takes=one_of(RATES), help="shape of the learning rate", default_help="wsd")
