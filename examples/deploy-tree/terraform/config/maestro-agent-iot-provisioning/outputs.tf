output "certificate_data" {
  description = "What the agent connects with. The management cluster reads it from Secrets Manager in its own account."
  sensitive   = true

  value = {
    certificate = aws_iot_certificate.agent.certificate_pem
    private_key = aws_iot_certificate.agent.private_key
  }

  # Nobody gets a certificate that may not do anything yet.
  depends_on = [aws_iot_policy_attachment.agent]
}

output "certificate_arn" {
  description = "The certificate."
  value       = aws_iot_certificate.agent.arn
}

output "policy_name" {
  description = "The policy of the certificate."
  value       = aws_iot_policy.agent.name
}
