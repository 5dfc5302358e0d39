"""More than one machine: the service on Ray Serve, files of points on Ray Data, and files for Kubernetes and Compose."""
