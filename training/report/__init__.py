"""``report.html``: what is known of a model, in one file that needs nothing else.

:mod:`~rowcast.training.report.facts` gathers what is known (of a fit, or of a stored model and a table), as JSON that
tells of no single row; :mod:`~rowcast.training.report.page` puts it into a page whose script draws it.
"""
