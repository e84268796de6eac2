"""The gRPC services of the model server, with TF Serving's codes and texts of errors.

Source: tensorflow/serving model_servers/prediction_service_impl.cc, model_service_impl.cc, grpc_status_util.cc.
"""

import logging
from collections.abc import Callable
from typing import Any, NoReturn

import grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from softprompt_tf.errors import ServingError
from softprompt_tf.export.server.model_config import read_model_config
from softprompt_tf.export.server.served_models import ServedModels

_MAX_MESSAGE_CHARACTERS = 1024  # TF Serving cuts the text of a status here
_STATUS_CODES = {code.name: code for code in grpc.StatusCode}

logger = logging.getLogger(__name__)


def add_services(server: grpc.Server, models: ServedModels) -> None:
    """Add PredictionService and ModelService to a gRPC server."""
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_PredictionService(models), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(_ModelService(models), server)


class _PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict and GetModelMetadata; Classify, Regress and MultiInference are refused, as a T5's signatures need."""

    def __init__(self, models: ServedModels):
        self._models = models

    def Predict(
        self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext
    ) -> predict_pb2.PredictResponse:
        timeout_s = context.time_remaining()
        return _respond(lambda: self._models.predict(request, timeout_s=timeout_s), context)

    def Classify(self, request: classification_pb2.ClassificationRequest, context: grpc.ServicerContext) -> Any:
        return _respond(lambda: self._refuse(request, "classify"), context)

    def Regress(self, request: regression_pb2.RegressionRequest, context: grpc.ServicerContext) -> Any:
        return _respond(lambda: self._refuse(request, "regress"), context)

    def MultiInference(self, request: inference_pb2.MultiInferenceRequest, context: grpc.ServicerContext) -> Any:
        return _respond(lambda: self._refuse(request.tasks[0] if request.tasks else request, "inference"), context)

    def _refuse(self, request: Any, method: str) -> NoReturn:
        if "model_spec" not in request.DESCRIPTOR.fields_by_name or not request.HasField("model_spec"):
            raise ServingError("Missing ModelSpec", status="INVALID_ARGUMENT")
        raise self._models.refuse_examples(request.model_spec, method)

    def GetModelMetadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: grpc.ServicerContext
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        return _respond(lambda: self._models.metadata(request), context)


class _ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus and HandleReloadConfigRequest."""

    def __init__(self, models: ServedModels):
        self._models = models

    def GetModelStatus(
        self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.ServicerContext
    ) -> get_model_status_pb2.GetModelStatusResponse:
        return _respond(lambda: self._models.status(request), context)

    def HandleReloadConfigRequest(
        self, request: model_management_pb2.ReloadConfigRequest, context: grpc.ServicerContext
    ) -> model_management_pb2.ReloadConfigResponse:
        return _respond(lambda: self._reload(request, is_over=lambda: not context.is_active()), context)

    def _reload(
        self, request: model_management_pb2.ReloadConfigRequest, *, is_over: Callable[[], bool]
    ) -> model_management_pb2.ReloadConfigResponse:
        self._models.configure(read_model_config(request.config), is_over=is_over)
        response = model_management_pb2.ReloadConfigResponse()
        response.status.SetInParent()
        return response


def _respond(answer: Callable[[], Any], context: grpc.ServicerContext) -> Any:
    try:
        return answer()
    except ServingError as error:
        context.abort(_STATUS_CODES[error.status], str(error)[:_MAX_MESSAGE_CHARACTERS])
    except Exception as error:
        logger.exception("A request failed")
        context.abort(grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}"[:_MAX_MESSAGE_CHARACTERS])
