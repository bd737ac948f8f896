"""The settings, the URLs and the views of a project, in one file."""

import json

import agent
from django.http import JsonResponse
from django.urls import path

SECRET_KEY, ALLOWED_HOSTS, ROOT_URLCONF, MIDDLEWARE = "a secret", ["*"], "agents", []


async def thread(request):
    return JsonResponse(agent.thread())


async def runs(request):
    return JsonResponse(agent.runs(), safe=False)


async def wait(request):
    return JsonResponse(agent.wait(json.loads(request.body)))


urlpatterns = [path("threads/t", thread), path("runs/search", runs), path("runs/wait", wait)]
