output "pipeline" {
  description = "The name of the pipeline."
  value       = aws_codepipeline.this.name
}
