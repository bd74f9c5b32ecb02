@infrastructure @critical @gate
Feature: Rolling back pages that caches near users keep

  The files at the origin are those of before in an instant. Each edge goes on showing what it has kept, the page that does not load
  and the 404 of its script, until it is told to forget it. The plan asks each edge until it shows what is wanted.

  Background:
    Given the service "vitrine"
    And 40 journeys per second by 20 users

  Scenario: Every edge forgets, and says so
    When release "v2-forgets-its-script" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes
