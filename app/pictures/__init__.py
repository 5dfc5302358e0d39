"""Pictures as SVG and PNG: graphs, decision boundaries, histories and fits. They know nothing of HTTP."""
