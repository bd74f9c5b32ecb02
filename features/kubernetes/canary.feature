@kubernetes @gate
Feature: Rolling back a canary before the rest follows

  One pod of the new release stands beside two of the old one and gets its share of the requests. It is bad, and is
  taken away; nothing else of the old release was touched.

  Background:
    Given the service "stand"
    And 60 journeys per second by 30 users

  Scenario: The canary goes and a pod of before comes
    When release "v2-misprints-canary" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes
