"""`deepen report STUDY`: draw a study's figures and page again from results.json, or write its tables."""

from pathlib import Path

from deepen.cli.output.map_tables import print_map
from deepen.cli.output.results_table import print_arm, print_results
from deepen.cli.output.tables import numbers, print_sentences, print_table, text
from deepen.cli.requests.report import ReportRequest
from deepen.errors import InvalidValueError
from deepen.report import draw_report
from deepen.report.map.draw import draw_map
from deepen.study.map.run_map import collect_map, find_studies
from deepen.study.map.schema import load_map, write_map
from deepen.study.results.results_file import load_results, write_results
from deepen.study.results.schema import Results


def run(request: ReportRequest) -> int:
    """Draw the report and print the results and where it is; or write tables or publish, and print which."""
    if request.publish:
        return _publish(request, request.publish)
    if request.is_map:
        return _draw_map(request)
    results = load_results(request.folder)
    if request.out != request.folder:
        request.out.mkdir(parents=True, exist_ok=True)
        write_results(results, request.out)
    if request.tables_only:
        _write_tables(results, request.out / "report")
        return 0
    draw_report(results, request.out)
    (print_arm if len(results.arms) == 1 else print_results)(results, request.out)
    return 0


def _publish(request: ReportRequest, out: Path) -> int:
    from deepen.report.publish.publish import publish, publish_group, publish_map

    if request.is_map:
        published = publish_map(request.folder, out, request.points)
    elif request.is_group:
        published = publish_group(request.folder, out, request.points)
    else:
        published = publish(load_results(request.folder), out, request.points)
    rows = [(name, f"{size / 1000:,.1f}") for name, size in published.files.items()]
    print_table(f"Published in {out}", (text("file"), numbers("kB")), rows)
    if published.pages:
        print_sentences([f"Renewed: {', '.join(map(str, published.pages))}."])
    return 0


def _draw_map(request: ReportRequest) -> int:
    """Draw a map again, from the results of its studies as they are now, where these are there."""
    found = collect_map(request.folder) if find_studies(request.folder) else load_map(request.folder)
    request.out.mkdir(parents=True, exist_ok=True)
    write_map(found, request.out)
    draw_map(found, request.out)
    print_map(found, request.out)
    return 0


def _write_tables(results: Results, folder: Path) -> None:
    from deepen.report.tables.data_files import make_tables, write_csv, write_parquet

    tables = make_tables(results)
    files = [write_csv(tables, folder)]
    notes = [f"Folder: {folder}"]
    try:
        files.append(write_parquet(tables, folder))
    except InvalidValueError as missing:
        notes.append(f"There are no Parquet files: {missing}.")
    rows = [
        (name, f"{len(table.lines):,}", str(len(table.types)), ", ".join(written))
        for (name, table), *written in zip(tables.items(), *files, strict=True)
    ]
    print_table(results.study, (text("table"), numbers("lines"), numbers("columns"), text("files")), rows)
    print_sentences(notes)
