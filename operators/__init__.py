"""Airflow: operators, the listener, the provider and DAG factories. Airflow itself is imported late."""
