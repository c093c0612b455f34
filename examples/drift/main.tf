# A schedule that looks for drift: EventBridge starts a CodeBuild project each morning, and whoever subscribes to the topic is
# told of a build that failed: something drifted, or something could not be compared.

terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 3.39"
    }
  }
}

variable "repository" {
  description = "The HTTPS URL of the repository of the fleet."
  type        = string
}

variable "state_bucket" {
  description = "The bucket of the states."
  type        = string
}

variable "deployment_role" {
  description = "The name of the role that plans assume in each account (`assume_role.plan_name`, else `assume_role.name`)."
  type        = string
  default     = "TerraformReadOnly"
}

variable "image" {
  description = "A build image with tfleet and Terraform in it."
  type        = string
}

variable "schedule" {
  description = "When, in UTC."
  type        = string
  default     = "cron(17 5 * * ? *)"
}

data "aws_partition" "current" {}

resource "aws_codebuild_project" "this" {
  name           = "tfleet-drift"
  service_role   = aws_iam_role.build.arn
  build_timeout  = 120
  queued_timeout = 60

  source {
    type            = "GITHUB"
    location        = var.repository
    git_clone_depth = 1
    buildspec       = "buildspec-drift.yml"
  }

  artifacts {
    type = "NO_ARTIFACTS"
  }

  environment {
    type         = "LINUX_CONTAINER"
    compute_type = "BUILD_GENERAL1_MEDIUM"
    image        = var.image

    environment_variable {
      name  = "TF_STATE_BUCKET"
      value = var.state_bucket
    }
  }
}

# It may read states, and assume the role that reads in each account. That it writes nothing is then AWS's word too.
resource "aws_iam_role" "build" {
  name               = "tfleet-drift-build"
  assume_role_policy = data.aws_iam_policy_document.trust["codebuild"].json
}

resource "aws_iam_role_policy" "build" {
  name   = "drift"
  role   = aws_iam_role.build.id
  policy = data.aws_iam_policy_document.build.json
}

data "aws_iam_policy_document" "build" {
  statement {
    actions   = ["s3:ListBucket"]
    resources = ["arn:${data.aws_partition.current.partition}:s3:::${var.state_bucket}"]
  }

  statement {
    actions   = ["s3:GetObject"]
    resources = ["arn:${data.aws_partition.current.partition}:s3:::${var.state_bucket}/*"]
  }

  statement {
    actions   = ["sts:AssumeRole"]
    resources = ["arn:${data.aws_partition.current.partition}:iam::*:role/${var.deployment_role}"]
  }

  statement {
    actions   = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["*"]
  }
}

resource "aws_cloudwatch_event_rule" "schedule" {
  name                = "tfleet-drift"
  description         = "Looks for drift."
  schedule_expression = var.schedule
}

resource "aws_cloudwatch_event_target" "build" {
  rule     = aws_cloudwatch_event_rule.schedule.name
  arn      = aws_codebuild_project.this.arn
  role_arn = aws_iam_role.schedule.arn
}

resource "aws_iam_role" "schedule" {
  name               = "tfleet-drift-schedule"
  assume_role_policy = data.aws_iam_policy_document.trust["events"].json
}

resource "aws_iam_role_policy" "schedule" {
  name   = "start"
  role   = aws_iam_role.schedule.id
  policy = data.aws_iam_policy_document.schedule.json
}

data "aws_iam_policy_document" "schedule" {
  statement {
    actions   = ["codebuild:StartBuild"]
    resources = [aws_codebuild_project.this.arn]
  }
}

data "aws_iam_policy_document" "trust" {
  for_each = toset(["codebuild", "events"])

  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["${each.key}.amazonaws.com"]
    }
  }
}

# The messages say that a build failed, and nothing of what it found.
resource "aws_sns_topic" "drift" {
  name = "tfleet-drift"
}

resource "aws_sns_topic_policy" "drift" {
  arn    = aws_sns_topic.drift.arn
  policy = data.aws_iam_policy_document.topic.json
}

data "aws_iam_policy_document" "topic" {
  statement {
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.drift.arn]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }
  }
}

resource "aws_cloudwatch_event_rule" "failed" {
  name = "tfleet-drift-found"

  event_pattern = jsonencode({
    source      = ["aws.codebuild"]
    detail-type = ["CodeBuild Build State Change"]
    detail = {
      project-name = [aws_codebuild_project.this.name]
      build-status = ["FAILED", "FAULT", "TIMED_OUT"]
    }
  })
}

resource "aws_cloudwatch_event_target" "failed" {
  rule = aws_cloudwatch_event_rule.failed.name
  arn  = aws_sns_topic.drift.arn
}

output "topic" {
  description = "Whoever subscribes to it is told."
  value       = aws_sns_topic.drift.arn
}
