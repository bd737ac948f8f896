"""The operator's policy for each resume: the `authorize` hook, and the audit file."""

from ap_resume_shim.policy.audit_file import AuditFile

__all__ = ["AuditFile"]
