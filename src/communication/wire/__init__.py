"""Single values between Python, JSON and protobuf; `communication.codec` puts them together into whole messages."""
