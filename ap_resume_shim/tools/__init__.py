"""The commands `explain`, which shows the requests of a resume, and `backends`, which describes a backend."""
