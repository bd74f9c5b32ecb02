@kubernetes @gate
Feature: A plan for another cluster stops before it changes anything

  The plan was written for staging and copied. It must notice where kubectl leads, and refuse before its first step.

  Background:
    Given the service "stand"
    And 40 journeys per second by 20 users

  Scenario: The plan refuses and changes nothing
    When release "v2-misprints" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "another-context"
    Then the plan refuses because "kubectl"
