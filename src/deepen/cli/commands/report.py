"""`deepen report STUDY`: draw a study's figures and page again from results.json."""

from deepen.cli.output.results_table import print_results
from deepen.cli.requests.report import ReportRequest
from deepen.report import draw_report
from deepen.study.results.results_file import load_results


def run(request: ReportRequest) -> int:
    """Draw the report and print the results and where it is."""
    results = load_results(request.folder)
    draw_report(results, request.folder)
    print_results(results, request.folder)
    return 0
