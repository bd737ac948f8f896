"""Tests of `ap_resume_shim.demo`."""
