"""By hand: grpc.aio, the messages of Open Inference and ONNX Runtime. No validation, no batching, no metrics."""

# mypy: ignore-errors
import asyncio
import os
import struct

import grpc
import numpy as np
import uvloop
from onnx_rows import PORT, session
from tritonclient.grpc import service_pb2, service_pb2_grpc

DTYPES = {"FP64": np.float64, "INT64": np.int64}
LENGTH = struct.Struct("<I")


def column(tensor, raw):
    """The graph input of a tensor."""
    if tensor.datatype != "BYTES":
        return np.frombuffer(raw, DTYPES[tensor.datatype]).reshape(-1, 1)
    texts, at = [], 0
    while at < len(raw):
        end = at + 4 + LENGTH.unpack_from(raw, at)[0]
        texts.append([raw[at + 4 : end].decode()])
        at = end
    return np.array(texts, object)


class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):
    async def ModelInfer(self, request, context):  # noqa: N802 - the protocol's name
        inputs = {
            tensor.name: column(tensor, raw)
            for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)
        }
        labels, probabilities = session.run(["label", "probabilities"], inputs)
        answer = service_pb2.ModelInferResponse(model_name="flights")
        answer.outputs.add(name="label", datatype="BYTES", shape=labels.shape)
        answer.outputs.add(name="probabilities", datatype="FP32", shape=probabilities.shape)
        texts = [text.encode() for text in labels[:, 0].tolist()]
        answer.raw_output_contents.append(b"".join(LENGTH.pack(len(text)) + text for text in texts))
        answer.raw_output_contents.append(probabilities.tobytes())
        return answer


async def ready(_, writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    await writer.drain()
    writer.close()


async def main():
    server = grpc.aio.server()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Servicer(), server)
    server.add_insecure_port(f"127.0.0.1:{os.environ['SECOND_PORT']}")
    await server.start()
    async with await asyncio.start_server(ready, "127.0.0.1", PORT):
        await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(main())
