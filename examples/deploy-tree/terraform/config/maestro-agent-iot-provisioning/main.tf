# The identity with which the Maestro agent of a management cluster speaks to the MQTT broker (AWS IoT Core) of its region:
# a certificate with its private key, and a policy that lets it use the topics of its own cluster and no others.
#
# It is applied in the regional account, where the broker is. The output `certificate_data` is for the management cluster,
# whose account is another one: tfleet keeps it in Secrets Manager there (`deliver` in tfleet.yaml).

terraform {
  required_version = ">= 1.3"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 3.39"
    }
  }
}

provider "aws" {
  region = var.region
}

data "aws_caller_identity" "this" {}

data "aws_partition" "this" {}

locals {
  name   = "maestro-agent-${var.environment}-${var.region_alias}-${var.cluster}"
  arn    = "arn:${data.aws_partition.this.partition}:iot:${var.region}:${data.aws_caller_identity.this.account_id}"
  topics = "${var.topic_prefix}/${var.cluster}"
}

# Without a signing request of its own, AWS makes the keys, and the private one is in the state (encrypted in the bucket).
resource "aws_iot_certificate" "agent" {
  active = true
}

resource "aws_iot_policy" "agent" {
  name = local.name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = "iot:Connect"
        Resource = "${local.arn}:client/${var.cluster}-*"
      },
      {
        Effect   = "Allow"
        Action   = "iot:Subscribe"
        Resource = "${local.arn}:topicfilter/${local.topics}/sourceevents"
      },
      {
        Effect   = "Allow"
        Action   = "iot:Receive"
        Resource = "${local.arn}:topic/${local.topics}/sourceevents"
      },
      {
        Effect   = "Allow"
        Action   = "iot:Publish"
        Resource = "${local.arn}:topic/${local.topics}/agentevents"
      },
    ]
  })
}

resource "aws_iot_policy_attachment" "agent" {
  policy = aws_iot_policy.agent.name
  target = aws_iot_certificate.agent.arn
}
