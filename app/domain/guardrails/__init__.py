"""What each guardrail says of the evidence: findings, and one assessment of them all."""
