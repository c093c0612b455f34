# A pipeline for one cluster: it plans, then applies, one deployment of tfleet. What bootstraps the cluster is a hook of
# the deployment (`after_apply` in tfleet.yaml), so it needs no stage of its own.

terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 3.39"
    }
  }
}

locals {
  stages = { Validate = "plan", Deploy = "apply --auto-approve" }
}

resource "aws_s3_bucket" "artifacts" {
  bucket_prefix = "pipeline-artifacts-"
  force_destroy = true
  tags          = var.tags
}

resource "aws_iam_role" "this" {
  name = var.name
  tags = var.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [for service in ["codepipeline", "codebuild"] : {
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "${service}.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy" "this" {
  name = "pipeline"
  role = aws_iam_role.this.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:PutObject", "s3:ListBucket", "s3:GetBucketVersioning", "s3:GetEncryptionConfiguration"]
        Resource = [for part in setproduct([aws_s3_bucket.artifacts.id, var.state_bucket], ["", "/*"]) : "arn:aws:s3:::${join("", part)}"]
      },
      {
        Effect   = "Allow"
        Action   = "s3:DeleteObject"
        Resource = ["arn:aws:s3:::${var.state_bucket}/*.tflock", "arn:aws:s3:::${var.state_bucket}/locks/*"]
      },
      {
        Effect   = "Allow"
        Action   = "sts:AssumeRole"
        Resource = var.target_role_arn
      },
      {
        Effect   = "Allow"
        Action   = ["codebuild:BatchGetBuilds", "codebuild:StartBuild"]
        Resource = [for project in aws_codebuild_project.this : project.arn]
      },
      {
        Effect   = "Allow"
        Action   = "codestar-connections:UseConnection"
        Resource = var.connection_arn
      },
      {
        Effect   = "Allow"
        Action   = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = "*"
      },
    ]
  })
}

resource "aws_codebuild_project" "this" {
  for_each = local.stages

  name         = "${var.name}-${lower(each.key)}"
  service_role = aws_iam_role.this.arn
  tags         = var.tags

  artifacts {
    type = "CODEPIPELINE"
  }

  environment {
    type         = "LINUX_CONTAINER"
    compute_type = "BUILD_GENERAL1_SMALL"
    image        = var.build_image

    environment_variable {
      name  = "TF_STATE_BUCKET"
      value = var.state_bucket
    }
  }

  source {
    type = "CODEPIPELINE"
    buildspec = yamlencode({
      version = "0.2"
      phases  = { build = { commands = ["tfleet ${each.value} --deployment '${var.deployment}'"] } }
    })
  }
}

resource "aws_codepipeline" "this" {
  name     = var.name
  role_arn = aws_iam_role.this.arn
  tags     = var.tags

  artifact_store {
    type     = "S3"
    location = aws_s3_bucket.artifacts.id
  }

  stage {
    name = "Source"

    action {
      name             = "Source"
      category         = "Source"
      owner            = "AWS"
      provider         = "CodeStarSourceConnection"
      version          = "1"
      output_artifacts = ["source"]

      configuration = {
        ConnectionArn        = var.connection_arn
        FullRepositoryId     = var.repository
        BranchName           = var.branch
        OutputArtifactFormat = "CODEBUILD_CLONE_REF"
        # Started by hand or on a schedule: what a push concerns is applied by the run that the push starts.
        DetectChanges = "false"
      }
    }
  }

  dynamic "stage" {
    for_each = ["Validate", "Deploy"]

    content {
      name = stage.value

      action {
        name            = stage.value
        category        = "Build"
        owner           = "AWS"
        provider        = "CodeBuild"
        version         = "1"
        input_artifacts = ["source"]
        configuration   = { ProjectName = aws_codebuild_project.this[stage.value].name }
      }
    }
  }
}
