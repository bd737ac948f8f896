"""`python -m ap_resume_shim`: the command line."""

from ap_resume_shim.sidecar.cli import main

if __name__ == "__main__":
    main()
