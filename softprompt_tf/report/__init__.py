"""Reports of experiments: tables, plots with error bars, published figures, runs.

`write_report` makes one HTML page that needs nothing else, `write_markdown_report` tables and SVG files for a README or a card.
"""

from softprompt_tf.report.markdown import write_markdown_report
from softprompt_tf.report.page import write_report
from softprompt_tf.report.plots import check_plots_can_be_drawn
from softprompt_tf.report.result import Result

__all__ = ["Result", "check_plots_can_be_drawn", "write_markdown_report", "write_report"]
