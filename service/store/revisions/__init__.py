"""The history of the service's own tables, one file per revision; never edited once released."""
