# The pipeline of one regional cluster, in the central account.

module "pipeline" {
  source = "../../modules/cluster-pipeline"

  name            = "regional-${var.alias}"
  deployment      = var.alias
  state_bucket    = var.state_bucket
  connection_arn  = var.connection_arn
  repository      = var.repository
  branch          = var.branch
  build_image     = var.build_image
  target_role_arn = "arn:aws:iam::${var.target_account_id}:role/${var.role_name}"

  tags = {
    Cluster     = var.alias
    Environment = var.environment
  }
}

output "pipeline" {
  description = "The name of the pipeline."
  value       = module.pipeline.pipeline
}
