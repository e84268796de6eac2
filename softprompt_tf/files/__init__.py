"""Files and paths: complete writes, locks of directories, names without this machine's folders."""
