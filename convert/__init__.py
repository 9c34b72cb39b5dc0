"""From a model to firmware: conversion, planning, code generation, building and running it."""
