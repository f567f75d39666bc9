"""`deepen report STUDY`: draw a study's figures and page again from results.json."""

from deepen.cli.output.results_table import print_results
from deepen.cli.requests.report import ReportRequest
from deepen.report import draw_report
from deepen.study.results.results_file import load_results, write_results


def run(request: ReportRequest) -> int:
    """Draw the report and print the results and where it is."""
    results = load_results(request.folder)
    if request.out != request.folder:
        request.out.mkdir(parents=True, exist_ok=True)
        write_results(results, request.out)
    draw_report(results, request.out)
    print_results(results, request.out)
    return 0
