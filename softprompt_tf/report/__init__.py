"""Results of experiments enter, one self-contained HTML file leaves: tables, plots with error bars, published figures, runs."""

from softprompt_tf.report.page import write_report
from softprompt_tf.report.plots import check_plots_can_be_drawn
from softprompt_tf.report.result import Result

__all__ = ["Result", "check_plots_can_be_drawn", "write_report"]
