"""The page of a map: heat maps, the law, links to the pages of its studies; self-contained, without scripts."""

from deepen.report.map.grid import make_grids
from deepen.report.map.words import describe_laws, describe_map, describe_scope, describe_shared, describe_withheld
from deepen.report.templates import make_environment
from deepen.report.units import count, done_percent
from deepen.study.map.schema import MAP_FILE, MapResults


def render_map(found: MapResults, files: tuple[str, ...]) -> str:
    """Render the page as HTML.

    Args:
        found: the map.
        files: paths of its tables and figures, relative to the page.
    """
    environment = make_environment("deepen.report.map")
    environment.filters |= {"count": count, "done_percent": done_percent}
    return environment.get_template("map.html.j2").render(
        map=found,
        headline=describe_map(found),
        scope=describe_scope(found),
        grids=make_grids(found),
        laws=describe_laws(found),
        withheld=describe_withheld(found),
        sharing=describe_shared(found),
        files=(f"../{MAP_FILE}", *files),
    )
