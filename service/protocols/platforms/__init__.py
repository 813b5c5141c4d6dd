"""The protocols that platforms speak: KServe V1, MLflow, SageMaker and Vertex AI.

Thin adapters over the way of rows: a body is made rows, and the reply to them the platform's. Admission, queue,
deadlines, errors, metrics, limits, keys and the access log are those of every other route.
"""
