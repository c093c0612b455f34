variable "name" {
  type = string
}

variable "size" {
  type = number
}

resource "terraform_data" "shop" {
  input = { name = var.name, size = var.size }
}
