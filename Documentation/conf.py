# SPDX-License-Identifier: GPL-2.0
# How Sphinx builds these pages.

project = "rvdpa_sim"
copyright = "The rvdpa_sim developers"
extensions = []
exclude_patterns = []
html_theme = "alabaster"
highlight_language = "none"
