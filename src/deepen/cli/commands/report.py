"""`deepen report STUDY`: draw a study's figures and page again from results.json."""

from deepen.cli.requests.report import ReportRequest
from deepen.report import draw_report
from deepen.study.results.schema import load_results


def run(request: ReportRequest) -> int:
    """Draw the report and print where it is."""
    page = draw_report(load_results(request.folder), request.folder)
    print(f"Report: {page}")
    return 0
