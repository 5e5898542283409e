"Settings of Sphinx; build.py lays the pages beside it."
project = 'rtsd_nb'
copyright = '2026 onwards, the rtsd_nb authors'
extensions = ['myst_nb', 'sphinx_design', 'sphinx-mathjax-offline']
html_theme = 'sphinx_book_theme'
html_title = 'rtsd_nb'
html_theme_options = {'use_download_button': False, 'use_fullscreen_button': False, 'show_toc_level': 2, 'home_page_in_toc': True, 'navbar_persistent': []}
html_copy_source = False
nb_execution_mode = 'off'
nb_merge_streams = True
myst_enable_extensions = ['dollarmath', 'colon_fence', 'amsmath']
myst_heading_anchors = 3
suppress_warnings = ['mystnb.unknown_mime_type', 'myst.header']
