"""Results of experiments enter, one self-contained HTML file leaves: tables, plots with error bars, published figures, runs."""

from softprompt_tf.report.page import write_report
from softprompt_tf.report.result import Result

__all__ = ["Result", "write_report"]
